"""Several devices of one type: which one a name stands for, and what is known of them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import flambeau
from flambeau import accelerator, cuda


def test_a_name_without_an_index_is_the_current_device(toy: Any) -> None:
    named = flambeau.device("cuda")
    assert named.index is None and str(named) == "cuda" and named is not flambeau.device("cuda:0")
    assert flambeau.ones(1, device="cuda").device is flambeau.device("cuda:0")
    cuda.set_device(1)
    assert cuda.current_device() == 1 and toy.used[-1] == 1
    assert flambeau.ones(1, device=named).device is flambeau.device("cuda:1")
    assert flambeau.ones(1).cuda().device is flambeau.device("cuda:1")
    assert flambeau.nn.Linear(1, 1).to(named).weight.device is flambeau.device("cuda:1")
    assert flambeau.ones(1).cuda(0).device is flambeau.device("cuda:0")
    with named:
        assert flambeau.ones(1).device is flambeau.device("cuda:1")
    assert flambeau.ones(1, device=0).device is flambeau.device("cuda:0")


def test_a_block_has_its_device(toy: Any) -> None:
    x = flambeau.ones(1, device="cuda:1")
    with cuda.device(1):
        assert cuda.current_device() == 1
        with cuda.device("cuda:0"), cuda.device_of(x), cuda.device(None), cuda.device_of(flambeau.ones(1)):
            assert cuda.current_device() == 1
        assert cuda.current_device() == 1
    assert cuda.current_device() == 0
    with pytest.raises(ValueError, match="expected a device of the type 'cuda', got 'cpu'"):
        cuda.device("cpu")


def test_threads_choose_for_themselves(toy: Any) -> None:
    cuda.set_device(1)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(cuda.current_device()))
    thread.start()
    thread.join()
    assert seen == [0] and cuda.current_device() == 1


def test_there_are_two(toy: Any) -> None:
    assert cuda.device_count() == 2 and cuda.is_available() and not cuda.is_initialized()
    cuda.init()
    assert cuda.is_initialized()
    for wrong in (lambda: cuda.set_device(2), lambda: flambeau.ones(1).to("cuda:2"), lambda: cuda.get_device_name(2)):
        with pytest.raises(RuntimeError, match="device 'cuda:2': there are only 2 devices of the type 'cuda'"):
            wrong()


def test_properties(toy: Any) -> None:
    found = cuda.get_device_properties("cuda:1")
    assert (found.name, found.major, found.minor, found.multi_processor_count) == ("Toy 1", 9, 0, 4)
    assert found.warp_size == 32 and found.total_memory == cuda.mem_get_info()[1]
    with pytest.raises(AttributeError, match="DeviceProperties has no attribute 'colour'; there are: warp_size"):
        found.colour  # noqa: B018
    assert cuda.get_device_name() == "Toy 0" and cuda.get_device_capability(1) == (9, 0)
    assert cuda.can_device_access_peer(0, 1) and not cuda.can_device_access_peer(0, 0)
    assert cuda.get_arch_list() == ["sm_90"] and cuda.is_tf32_supported()
    assert cuda.get_gencode_flags() == "-gencode compute=compute_90,code=sm_90"
    assert cuda.is_bf16_supported() and cuda.is_bf16_supported(including_emulation=False)


def test_the_accelerator_has_the_same_current_device(toy: Any) -> None:
    assert accelerator.current_accelerator() is flambeau.device("cuda")
    accelerator.set_device_index(1)
    assert cuda.current_device() == accelerator.current_device_index() == 1
    with accelerator.device_index(0):
        assert cuda.current_device() == 0
    assert cuda.current_device() == 1
    accelerator.set_device_index(None)
    accelerator.set_device_index("cuda")
    accelerator.set_device_index("cuda:0")
    assert cuda.current_device() == 0
    assert flambeau.float32 in accelerator.get_device_capability()["supported_dtypes"]


def test_models_on_two_devices(toy: Any) -> None:
    first, second = flambeau.nn.Linear(3, 4).to("cuda:0"), flambeau.nn.Linear(4, 2).to("cuda:1")
    x = flambeau.ones(2, 3, device="cuda:0")
    loss = second(first(x).to("cuda:1")).square().sum()
    loss.backward()
    assert loss.device is flambeau.device("cuda:1") and first.weight.grad.device is flambeau.device("cuda:0")
    expected = (second.weight.detach().cpu() @ first.weight.detach().cpu()).shape
    assert expected == (2, 3) and toy.copies.count(("between", True)) == 2  # the activations and their gradient
    with pytest.raises(RuntimeError, match=r"add: expected all tensors to be on the same device"):
        x + flambeau.ones(2, 3, device="cuda:1")
