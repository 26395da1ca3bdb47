from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from transformers_palbert.errors import StorageError
from transformers_palbert.storage.codec import encode
from transformers_palbert.storage.tensors import is_packed, pack_tensor, packed_header, unpack_tensor

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def weight(dtype: torch.dtype, density: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(48, 56, generator=generator)
    return torch.where(torch.rand(48, 56, generator=generator) < density, dense, 0).to(dtype)


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trips_are_exact(dtype: torch.dtype, density: float, entropy: bool) -> None:
    before = weight(dtype, density)
    packed = pack_tensor(before, entropy=entropy)
    after = unpack_tensor(packed, before.shape)
    assert packed.dtype == torch.uint8
    assert packed.ndim == 1
    assert after.dtype == dtype
    assert torch.equal(after, before)
    assert len(packed) < before.nbytes or density == 1


def test_the_bytes_are_those_of_the_codec() -> None:
    tensor = weight(torch.float32)
    assert np.array_equal(
        pack_tensor(tensor, "int8", True, "gaps").numpy(),
        encode(tensor.numpy(), dtype="float32", values="int8", entropy=True, layout="gaps"),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", ["float32", "float16", "bfloat16", "int8"])
def test_lossy_values_are_those_of_torch(dtype: torch.dtype, values: str) -> None:
    before = weight(dtype)
    after = unpack_tensor(pack_tensor(before, values), before.shape)
    if values != "int8":
        assert torch.equal(after, before.to(getattr(torch, values)).to(dtype))
        return
    scale = before.float().abs().amax(1, keepdim=True) / 127 * (1 + 2**-15)
    error = (after.float() - before.float()).abs()
    assert bool((error <= scale / 2 + after.float().abs() * torch.finfo(dtype).eps / 2).all())
    assert torch.equal(after == 0, after.masked_fill(before == 0, 0) == 0)


@pytest.mark.parametrize("values", ["auto", "float16", "int8"])
@pytest.mark.parametrize("layout", ["dense", "bitmask", "gaps"])
@pytest.mark.parametrize("target", [*DTYPES, torch.float64])
def test_a_dtype_can_be_asked_for(target: torch.dtype, layout: str, values: str) -> None:
    for dtype in DTYPES:
        packed = pack_tensor(weight(dtype), values, layout=layout)
        after = unpack_tensor(packed, (48, 56), target)
        assert after.dtype == target
        assert torch.equal(after, unpack_tensor(packed, (48, 56)).to(target))


def test_negative_zeros_become_zeros() -> None:
    """``weight * mask`` leaves them where it pruned a negative weight; they must not fill the file."""
    dense = torch.randn(64, 64)
    mask = torch.rand(64, 64) < 0.2
    packed = pack_tensor(dense * mask)
    assert packed_header(packed).nnz == int(mask.sum())
    restored = unpack_tensor(packed, dense.shape)
    assert torch.equal(restored, dense * mask)
    assert not torch.signbit(restored)[~mask].any()


def test_parameters_views_and_transposes_can_be_packed() -> None:
    parameter = torch.nn.Parameter(weight(torch.float32))
    assert torch.equal(unpack_tensor(pack_tensor(parameter), parameter.shape), parameter.detach())
    assert torch.equal(unpack_tensor(pack_tensor(parameter.T), parameter.T.shape), parameter.detach().T)
    assert torch.equal(unpack_tensor(pack_tensor(parameter[::2, 1:]), None), parameter.detach()[::2, 1:])


def test_the_result_has_memory_of_its_own() -> None:
    packed = pack_tensor(weight(torch.float32), layout="dense")
    before = packed.clone()
    unpack_tensor(packed, None).zero_()
    assert torch.equal(packed, before)


def test_what_is_packed_and_what_is_not() -> None:
    packed = pack_tensor(weight(torch.float32))
    assert is_packed(packed)
    for other in (packed[1:], packed[:3], packed[:0], packed.float(), packed[None], torch.tensor(7, dtype=torch.uint8)):
        assert not is_packed(other)


def test_a_file_keeps_the_bytes(tmp_path: object) -> None:
    packed = {"a.weight": pack_tensor(weight(torch.bfloat16), "int8"), "b.weight": pack_tensor(weight(torch.float32))}
    save_file(packed, f"{tmp_path}/model.safetensors")
    for name, loaded in load_file(f"{tmp_path}/model.safetensors").items():
        assert torch.equal(loaded, packed[name])
        assert torch.equal(unpack_tensor(loaded, (48, 56)), unpack_tensor(packed[name], (48, 56)))


def test_what_cannot_be_packed_or_unpacked() -> None:
    with pytest.raises(StorageError, match=r"torch.int64 cannot be packed"):
        pack_tensor(torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(StorageError, match=r"expected"):
        unpack_tensor(pack_tensor(weight(torch.float32)), (56, 48))
    with pytest.raises(StorageError, match="is a uint8 vector"):
        unpack_tensor(torch.zeros(100), (10, 10))
    with pytest.raises(StorageError, match="not a packed tensor"):
        packed_header(torch.zeros(100, dtype=torch.uint8))
