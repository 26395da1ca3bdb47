from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.storage.helpers import CONFIGS, pruned_model, state_of
from transformers_palbert import StorageConfig, StorageError
from transformers_palbert.storage.state import restore, round_tensor, store_state, store_tensor
from transformers_palbert.storage.tensors import is_packed, packed_header

FLOAT16, INT8 = StorageConfig("float16"), StorageConfig("int8")


def sparse(rows: int = 24, columns: int = 32, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(rows, columns, generator=generator)
    return (weights * (torch.rand(rows, columns, generator=generator) > 0.7)).to(dtype)


class TestRounding:
    @pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
    def test_what_is_rounded_is_stored_as_asked_for_and_comes_back(self, config: StorageConfig) -> None:
        for name, tensor in pruned_model().state_dict().items():
            is_table = "word_embeddings" in name
            rounded = round_tensor(name, tensor, config, is_table)
            assert (rounded.shape, rounded.dtype) == (tensor.shape, tensor.dtype)
            stored = store_tensor(rounded, config, is_table)
            if is_packed(stored) and config.values_for(is_table) != "auto":
                assert packed_header(stored).values == config.values_for(is_table)
            back = restore(name, stored, rounded.shape, rounded.dtype)
            assert back.numpy().tobytes() == rounded.numpy().tobytes()

    def test_lossless_changes_no_value_but_the_sign_of_zeros(self) -> None:
        rounded = round_tensor("w", torch.tensor([[-0.0, 1.5, -2.0]]), StorageConfig())
        assert rounded.tolist() == [[0.0, 1.5, -2.0]]
        assert not rounded[0, 0].signbit()

    def test_int8_error_and_zeros(self) -> None:
        tensor = sparse()
        rounded = round_tensor("w", tensor, INT8)
        scale = tensor.abs().amax(dim=1, keepdim=True) / 127
        assert bool(((rounded - tensor).abs() <= scale / 2 * (1 + 2**-10)).all())
        assert bool((rounded[tensor == 0] == 0).all())

    @pytest.mark.parametrize(
        ("values", "dtype"), [("int8", torch.float16), ("float16", torch.float16), ("bfloat16", torch.bfloat16)]
    )
    def test_vectors_are_narrowed(self, values: str, dtype: torch.dtype) -> None:
        rounded = round_tensor("bias", torch.randn(7), StorageConfig(values))
        stored = store_tensor(rounded, StorageConfig(values))
        assert stored.dtype == dtype
        assert torch.equal(stored.float(), rounded)

    def test_vectors_never_get_wider(self) -> None:
        assert store_tensor(torch.randn(7).bfloat16(), FLOAT16).dtype == torch.bfloat16

    def test_integers_stay(self) -> None:
        ids = torch.arange(6).reshape(2, 3)
        assert round_tensor("ids", ids, INT8) is ids
        assert store_tensor(ids, INT8) is ids

    @pytest.mark.parametrize("tensor", [torch.full((2, 2), 1e5), torch.tensor([1.0, -1e5])], ids=["matrix", "vector"])
    def test_what_float16_cannot_hold_is_refused(self, tensor: Tensor) -> None:
        with pytest.raises(StorageError, match=r"layer\.w.*too large for float16"):
            round_tensor("layer.w", tensor, FLOAT16)

    def test_nan_in_int8_is_refused_by_name(self) -> None:
        with pytest.raises(StorageError, match=r"layer\.w: .*NaN"):
            round_tensor("layer.w", torch.full((2, 2), torch.nan), INT8)


class TestStoring:
    def test_what_the_encoding_cannot_hold_is_stored_without_loss(self) -> None:
        tensor = sparse()  # not rounded
        for config in (FLOAT16, INT8):
            stored = store_tensor(tensor, config)
            assert packed_header(stored).values == "float32"
            assert torch.equal(restore("w", stored), tensor)

    def test_a_matrix_without_zeros_stays_plain(self) -> None:
        tensor = torch.randn(16, 16)
        assert store_tensor(tensor, StorageConfig()) is tensor

    @pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e-45])
    def test_odd_numbers_come_back(self, value: float) -> None:
        tensor = sparse()
        tensor[0, 0] = value
        stored = store_tensor(tensor, INT8)
        assert is_packed(stored)
        assert torch.equal(restore("w", stored).nan_to_num(7), tensor.nan_to_num(7))

    def test_a_type_that_the_codec_lacks_stays_plain(self) -> None:
        tensor = sparse(dtype=torch.float64)
        assert store_tensor(tensor, FLOAT16) is tensor

    def test_shared_memory_stays_shared(self) -> None:
        tensor = sparse()
        stored = store_state({"a": tensor, "b": tensor.view_as(tensor), "c": tensor.clone()}, FLOAT16)
        assert stored["a"] is stored["b"]
        assert stored["a"] is not stored["c"]

    @pytest.mark.parametrize("tensor", [torch.empty(0), torch.empty(3, 3, device="meta")], ids=["DeepSpeed", "meta"])
    def test_pieces_of_a_parameter_are_no_checkpoint(self, tensor: Tensor) -> None:
        with pytest.raises(StorageError, match=r"layer\.w is not whole"):
            store_state({"layer.w": tensor}, StorageConfig())

    def test_a_packed_tensor_of_another_shape_is_named(self) -> None:
        stored = store_tensor(sparse(), StorageConfig())
        with pytest.raises(StorageError, match=r"layer\.w: .*shape"):
            restore("layer.w", stored, torch.Size([32, 24]))


def test_storing_leaves_the_model_alone() -> None:
    model = pruned_model()
    before = state_of(model)
    store_state(model.state_dict(), INT8)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
