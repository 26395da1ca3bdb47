from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.references.pruning import SortingMaskedLinear, naive_masked_linear, naive_shared_gradients
from transformers_palbert.errors import PruningError
from transformers_palbert.pruning import masked_linear
from transformers_palbert.pruning.masked_linear import MaskedLinear
from transformers_palbert.pruning.masks import top_v


def make_layer(
    inputs: int = 6, outputs: int = 6, *, kept: int | None = None, dtype: torch.dtype = torch.float32, bias: bool = True
) -> MaskedLinear:
    """A layer with random weights and scores; ``kept`` of its weights are kept (half of them unless given)."""
    torch.manual_seed(0)
    linear = nn.Linear(inputs, outputs, bias=bias, dtype=dtype)
    layer = MaskedLinear(linear, {"scores": torch.randn(outputs, inputs)})
    layer.set_mask(top_v(layer.scores, inputs * outputs // 2 if kept is None else kept))
    return layer


@pytest.fixture
def builds() -> Iterator[mock.Mock]:
    """Counts how often an effective weight is built."""
    with mock.patch.object(masked_linear, "mask_weight", wraps=masked_linear.mask_weight) as counter:
        yield counter


class TestGradients:
    def test_one_application_is_the_papers(self) -> None:
        layer = make_layer(4, 3, dtype=torch.float64)
        inputs = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
        upstream = torch.randn(5, 3, dtype=torch.float64)
        expected = naive_masked_linear(
            inputs.detach(), layer.weight.detach(), layer.mask, layer.bias.detach(), upstream
        )
        output = layer(inputs)
        output.backward(upstream)
        found = {"output": output.detach(), "inputs": inputs.grad, "scores": layer.scores.grad}
        found |= {"weight": layer.weight.grad, "bias": layer.bias.grad}
        for name, value in expected.items():
            tolerance = 1e-6 if name == "scores" else 1e-12  # the scores are float32
            torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, check_dtype=False)

    @pytest.mark.parametrize("applications", [2, 12])
    def test_shared_applications_add_up(self, applications: int) -> None:
        layer = make_layer(dtype=torch.float64)
        inputs = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
        expected = naive_shared_gradients(
            inputs.detach(), layer.weight.detach(), layer.mask, layer.bias.detach(), applications
        )
        hidden: Tensor = inputs
        for _ in range(applications):
            hidden = torch.tanh(layer(hidden))
        hidden.square().sum().backward()
        found = {"output": hidden.detach(), "inputs": inputs.grad, "scores": layer.scores.grad}
        found |= {"weight": layer.weight.grad, "bias": layer.bias.grad}
        for name, value in expected.items():
            tolerance = 1e-6 if name == "scores" else 1e-11
            torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, check_dtype=False)

    def test_sorting_in_every_forward_gives_the_same(self) -> None:
        """The direct port of the research code, where autograd finds the gradients by itself."""
        layer = make_layer(kept=18)
        port = SortingMaskedLinear(copy.deepcopy(layer), density=0.5)
        port.scores.data.copy_(layer.scores.data)
        results = []
        for module in (layer, port):
            hidden = torch.linspace(-1, 1, 30).view(5, 6)
            for _ in range(12):
                hidden = torch.tanh(module(hidden))
            hidden.square().sum().backward()
            results.append((hidden.detach(), module.weight.grad, module.scores.grad, module.bias.grad))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_gradients_accumulate_over_forwards(self) -> None:
        layer, twice = make_layer(), make_layer()
        first, second = torch.randn(2, 6), torch.randn(3, 6)
        layer(torch.cat([first, second])).sum().backward()
        for part in (first, second):
            twice.start_forward()
            twice(part).sum().backward()
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(twice.get_parameter(name).grad, parameter.grad)

    def test_two_forwards_may_share_one_backward(self) -> None:
        layer, once = make_layer(), make_layer()
        first, second = torch.randn(2, 6), torch.randn(3, 6)
        losses = []
        for part in (first, second):
            layer.start_forward()
            losses.append(layer(part).square().sum())
        sum(losses).backward()
        once(torch.cat([first, second])).square().sum().backward()
        for name, parameter in once.named_parameters():
            torch.testing.assert_close(layer.get_parameter(name).grad, parameter.grad)


class TestBuiltOnce:
    def test_for_many_applications(self, builds: mock.Mock) -> None:
        layer = make_layer()
        hidden = torch.randn(2, 6)
        for _ in range(12):
            hidden = layer(hidden)
        assert builds.call_count == 1
        hidden.sum().backward()
        layer(torch.randn(2, 6))
        assert builds.call_count == 2  # the first one's graph is gone

    def test_under_autocast_in_its_dtype(self, builds: mock.Mock) -> None:
        layer = make_layer()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = layer(layer(torch.randn(2, 6)))
            assert layer.effective_weight().dtype == torch.bfloat16
        assert builds.call_count == 1
        hidden.sum().backward()
        assert layer.weight.grad.dtype == layer.scores.grad.dtype == torch.float32
        assert layer.effective_weight().dtype == torch.float32

    def test_autocast_gives_what_it_gives_a_plain_layer(self) -> None:
        layer, inputs = make_layer(), torch.randn(3, 6)
        plain = nn.Linear(6, 6)
        plain.weight.data, plain.bias.data = layer.weight.data * layer.mask, layer.bias.data
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(inputs), plain(inputs))


class TestNeverStale:
    """What was built before must not outlive what it was built from."""

    def check(self, layer: MaskedLinear) -> None:
        inputs = torch.randn(2, 6)
        expected = functional.linear(inputs, layer.weight * layer.mask, layer.bias)
        assert torch.equal(layer(inputs), expected)

    def test_after_an_optimizer_step(self) -> None:
        layer = make_layer()
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(torch.randn(2, 6)).sum().backward()
        layer(torch.randn(2, 6))  # built again, and not used by a backward
        optimizer.step()
        self.check(layer)

    def test_after_a_new_mask(self) -> None:
        layer = make_layer()
        layer(torch.randn(2, 6))
        layer.set_mask(~layer.mask)
        self.check(layer)

    def test_after_evaluation_without_gradient(self) -> None:
        layer = make_layer()
        for context in (torch.no_grad(), torch.inference_mode()):
            with context:
                self.check(layer)
            output = layer(torch.randn(2, 6))
            output.sum().backward()
            assert layer.weight.grad is not None
            layer.zero_grad()

    def test_after_loading(self) -> None:
        layer, other = make_layer(), make_layer()
        other.weight.data.mul_(2)
        layer(torch.randn(2, 6))
        layer.load_state_dict(other.state_dict())
        self.check(layer)
        assert torch.equal(layer.weight, other.weight)

    def test_after_loading_by_assignment(self) -> None:
        layer, other = make_layer(), make_layer()
        for _ in range(2):  # the second new Parameter has the version number of the first
            other.weight.data.mul_(2)
            layer.load_state_dict(other.state_dict(), assign=True)
            self.check(layer)

    def test_after_inference_mode_with_gradients_switched_on(self) -> None:
        layer = make_layer()
        with torch.inference_mode(), torch.enable_grad():
            self.check(layer)
        layer(torch.randn(2, 6)).sum().backward()
        assert layer.weight.grad is not None

    def test_when_the_memory_of_the_weight_changes_behind_autograds_back(self) -> None:
        layer = make_layer()
        layer(torch.randn(2, 6))
        layer.weight.data.mul_(2)
        layer.start_forward()  # what every forward of a model begins with
        self.check(layer)

    def test_when_moved_to_another_dtype(self) -> None:
        layer = make_layer()
        layer(torch.randn(2, 6))
        layer.double()
        assert layer(torch.randn(2, 6, dtype=torch.float64)).dtype == torch.float64


class TestCheckpoints:
    def test_the_key_weight_holds_the_effective_weight(self) -> None:
        layer = make_layer()
        plain = nn.Linear(6, 6)
        keys = plain.load_state_dict(layer.state_dict(), strict=False)
        assert not keys.missing_keys
        assert sorted(keys.unexpected_keys) == ["mask", "pruned_weight", "scores"]
        inputs = torch.randn(2, 6)
        assert torch.equal(plain(inputs), layer(inputs))

    def test_round_trip_is_exact(self) -> None:
        layer, other = make_layer(), make_layer()
        with torch.no_grad():
            layer.weight[0, 0] = layer.weight[5, 5] = 0.0  # zero by itself, kept or not
            layer.weight[1, 1] = 1e-42  # subnormal
            for parameter in other.parameters():
                parameter.fill_(9.0)
            other.mask.fill_(True)
        assert other.load_state_dict(layer.state_dict(), strict=True)
        for name, parameter in layer.named_parameters():
            assert torch.equal(other.get_parameter(name), parameter)
        assert torch.equal(other.mask, layer.mask)

    def test_a_dense_checkpoint_lacks_the_scores_only(self) -> None:
        layer, plain = make_layer(), nn.Linear(6, 6)
        keys = layer.load_state_dict(plain.state_dict(), strict=False)
        assert keys.missing_keys == ["scores"]
        assert not keys.unexpected_keys
        assert torch.equal(layer.weight, plain.weight)

    def test_a_state_of_other_layers_leaves_the_mask_alone(self) -> None:
        layer = make_layer()
        mask = (torch.arange(36).view(6, 6) % 2).to(layer.mask.dtype)
        layer.set_mask(mask)
        both = nn.ModuleDict({"part": layer, "other": nn.Linear(2, 2)})
        both.load_state_dict({"other.bias": torch.ones(2)}, strict=False)
        assert torch.equal(layer.mask, mask)
        layer.load_state_dict(nn.Linear(6, 6).state_dict(), strict=False)  # a dense weight has no mask
        assert layer.mask.all()

    def test_files_cut_between_the_halves_of_a_weight_are_refused(self) -> None:
        layer = make_layer()
        with pytest.raises(PruningError, match=r"part\.pruned_weight came without part\.weight.*max_shard_size"):
            nn.ModuleDict({"part": layer}).load_state_dict({"part.pruned_weight": torch.ones(6, 6)}, strict=False)

    def test_loading_leaves_the_callers_dictionary_alone(self) -> None:
        layer = make_layer()
        state = layer.state_dict()
        before = {key: value.clone() for key, value in state.items()}
        nn.ModuleDict({"part": layer}).load_state_dict({f"part.{key}": value for key, value in state.items()})
        layer.load_state_dict(state)
        assert state.keys() == before.keys()
        assert all(torch.equal(state[key], before[key]) for key in before)

    def test_movement_free_layers_have_no_scores(self) -> None:
        assert sorted(MaskedLinear(nn.Linear(2, 3)).state_dict()) == ["bias", "mask", "pruned_weight", "weight"]


def test_a_layer_without_bias() -> None:
    layer = make_layer(bias=False)
    inputs = torch.randn(2, 6)
    assert torch.equal(layer(inputs), inputs @ (layer.weight * layer.mask).T)
    assert layer.bake().bias is None


def test_baking_returns_a_plain_linear_with_zeros() -> None:
    layer = make_layer(kept=9).eval()
    inputs, weight = torch.randn(2, 6), layer.weight
    expected = layer(inputs)
    linear = layer.bake()
    assert type(linear) is nn.Linear
    assert linear.weight is weight
    assert not linear.training
    assert int(torch.count_nonzero(linear.weight)) == 9
    assert torch.equal(linear(inputs), expected)
    assert sorted(linear.state_dict()) == ["bias", "weight"]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_in_the_middle_of_a_step(clone: object) -> None:
    layer, inputs = make_layer(), torch.randn(2, 6)
    expected = layer(inputs)
    twin = clone(layer)  # type: ignore[operator]
    assert torch.equal(twin(inputs), expected)
    assert twin.weight is not layer.weight
    expected.sum().backward()  # what the original had built still works
    assert twin.weight.grad is None
