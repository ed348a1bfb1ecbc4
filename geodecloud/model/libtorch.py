"""Call PyTorch's C++ library without the Python around it, whose import takes half a second.

The functions are those that PyTorch's ahead-of-time compiler calls: its C interface, see
``torch/csrc/inductor/aoti_torch/c/shim.h`` and ``torch/csrc/stable/c/shim.h`` among PyTorch's
headers. They compute what ``torch`` computes, byte for byte. PyTorch 2.13 has them all.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
import threading
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32, c_uint64
from ctypes import c_void_p as pointer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOAT32, BFLOAT16 = 6, 15  # c10::ScalarType
_CPU = 0  # c10::DeviceType
_LAZILY = 1  # RTLD_LAZY
_OTHER_DEVICES = ("libtorch_cuda.so", "libtorch_hip.so", "libtorch_xpu.so")
_LOADING = threading.Lock()

_numbers, _tensor = POINTER(c_int64), POINTER(pointer)
# Functions that compute: other Python threads run meanwhile.
_SLOW: dict[str, tuple[Any, ...]] = {
    "aoti_torch_call_dispatcher": (c_char_p, c_char_p, POINTER(c_uint64)),
    "aoti_torch_copy_": (pointer, pointer, c_int32),
    "aoti_torch_cpu_cat": (_tensor, c_int64, c_int64, _tensor),
    "aoti_torch_cpu_max_pool2d_with_indices": (
        *(pointer, _numbers, c_int64, _numbers, c_int64, _numbers, c_int64, _numbers, c_int64),
        *(c_int32, _tensor, _tensor),
    ),
    "aoti_torch_cpu_mkldnn__convolution_pointwise": (
        *(pointer, pointer, _tensor, _numbers, c_int64, _numbers, c_int64, _numbers, c_int64),
        *(c_int64, c_char_p, POINTER(POINTER(c_double)), c_int64, POINTER(c_char_p), _tensor),
    ),
}
# Functions that take microseconds: handing on Python's lock would take longer.
_QUICK: dict[str, tuple[Any, ...]] = {
    "aoti_torch_create_tensor_from_blob": (
        *(pointer, c_int64, _numbers, _numbers, c_int64, c_int32, c_int32, c_int32, _tensor),
    ),
    "aoti_torch_delete_tensor_object": (pointer,),
    "aoti_torch_empty_strided": (
        *(c_int64, _numbers, _numbers, c_int32, c_int32, c_int32, _tensor),
    ),
    "aoti_torch_get_data_ptr": (pointer, _tensor),
    "aoti_torch_get_dtype": (pointer, POINTER(c_int32)),
    "aoti_torch_get_sizes": (pointer, POINTER(_numbers)),
    "aoti_torch_get_strides": (pointer, POINTER(_numbers)),
    "aoti_torch_get_dim": (pointer, _numbers),
    "aoti_torch_new_tensor_handle": (pointer, _tensor),
    "torch_get_num_threads": (POINTER(c_uint32),),
    "torch_list_push_back": (pointer, c_uint64),
    "torch_new_list_reserve_size": (c_size_t, POINTER(pointer)),
    "torch_new_stable_ivalue": (POINTER(POINTER(c_uint64)),),
}
_SET_NUM_THREADS = "_ZN2at15set_num_threadsEi"  # at::set_num_threads(int)
_REASON = "torch_exception_get_what_without_backtrace"


def folder() -> Path | None:
    """Return the folder of PyTorch's libraries; None without PyTorch. Imports nothing."""
    found = importlib.util.find_spec("torch")
    return Path(found.origin).parent / "lib" if found and found.origin else None


def serves(device: str) -> bool:
    """Return whether this device is a CPU, or is found to be one, of a system with the library."""
    place = folder()
    if place is None or sys.platform != "linux":
        return False
    return device == "cpu" or (
        device == "auto" and not any((place / name).exists() for name in _OTHER_DEVICES)
    )


@functools.cache
def _functions() -> dict[str, Any]:
    """Load the library, and return its functions by name.

    Raises:
        OSError, AttributeError: there is no such library, or it lacks a function.
    """
    place = folder()
    if place is None:
        raise OSError("PyTorch is not installed")
    # By the C library's function, since Python's own would keep Python's lock for 0.2 s. If it
    # fails, so do the lines below, and they say why.
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (c_char_p, ctypes.c_int), pointer
    dlopen(str(place / "libtorch_global_deps.so").encode(), _LAZILY | ctypes.RTLD_GLOBAL)
    path = str(place / "libtorch_cpu.so")
    dlopen(path.encode(), _LAZILY)
    functions = {}
    for library, known in ((ctypes.CDLL(path), _SLOW), (ctypes.PyDLL(path), _QUICK)):
        for name, types in known.items():
            function = functions[name] = getattr(library, name)
            function.argtypes = types
    for name, returned in ((_SET_NUM_THREADS, None), (_REASON, c_char_p)):
        functions[name] = getattr(library, name)
        functions[name].restype = returned
    return functions


def load() -> None:
    """Load the library.

    Raises:
        OSError, AttributeError: there is no such library, or it lacks a function.
    """
    with _LOADING:
        _functions()


def _call(name: str, *args: Any) -> None:
    """Call a function of the library.

    Raises:
        RuntimeError: it fails.
    """
    functions = _functions()
    if functions[name](*args):
        reason = functions[_REASON]() or b"it fails"
        raise RuntimeError(f"{reason.decode(errors='replace')} ({name})")


class Tensor:
    """A tensor of the library; its memory is the library's, or that of a NumPy array."""

    def __init__(self, handle: int | None, memory: Any = None) -> None:
        self.handle = handle
        self._memory = memory  # is kept as long as the tensor
        self._delete = _functions()["aoti_torch_delete_tensor_object"]

    def __del__(self) -> None:
        self._delete(self.handle)

    @property
    def dtype(self) -> int:
        """Its c10::ScalarType."""
        found = c_int32()
        _call("aoti_torch_get_dtype", self.handle, found)
        return found.value

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size in each dimension."""
        return self._lengths("aoti_torch_get_sizes")

    def _lengths(self, name: str) -> tuple[int, ...]:
        dimensions, found = c_int64(), _numbers()
        _call("aoti_torch_get_dim", self.handle, dimensions)
        _call(name, self.handle, found)
        return tuple(found[i] for i in range(dimensions.value))

    def view(self) -> NDArray[np.float32]:
        """Return its float32 values; they are there as long as the tensor is."""
        import numpy as np

        address, shape = pointer(), self.shape
        _call("aoti_torch_get_data_ptr", self.handle, address)
        strides = self._lengths("aoti_torch_get_strides")
        count = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        values = np.ctypeslib.as_array(ctypes.cast(address, POINTER(ctypes.c_float)), (count,))
        return np.lib.stride_tricks.as_strided(values, shape, [4 * step for step in strides])


def from_numpy(array: NDArray[np.float32]) -> Tensor:
    """Return a tensor over the memory of an array."""
    steps = [step // array.itemsize for step in array.strides]
    made = pointer()
    _call(
        "aoti_torch_create_tensor_from_blob",
        *(array.ctypes.data, array.ndim, _of(array.shape), _of(steps), 0, FLOAT32, _CPU, 0, made),
    )
    return Tensor(made.value, array)


def converted(source: Tensor, dtype: int) -> Tensor:
    """Return a tensor of one or four dimensions as another dtype, channels last."""
    if source.dtype == dtype:
        return source
    shape, steps = source.shape, [1]
    if len(shape) == 4:
        _, channels, height, width = shape
        steps = [height * width * channels, 1, width * channels, channels]
    made = pointer()
    _call("aoti_torch_empty_strided", len(shape), _of(shape), _of(steps), dtype, _CPU, 0, made)
    result = Tensor(made.value)
    _call("aoti_torch_copy_", result.handle, source.handle, 0)
    return result


def packed(weight: Tensor, padding: int, size: Sequence[int]) -> Tensor:
    """Return a convolution's weight as oneDNN wants it for an input of this size."""
    dense = _dispatch("aten::to_mkldnn", weight, None)
    even = [1, 1]
    return _dispatch(
        "aten::mkldnn_reorder_conv2d_weight", dense, [padding] * 2, even, even, 1, _given(size)
    )


def convolution(x: Tensor, weight: Tensor, bias: Tensor, padding: int, *, relu: bool) -> Tensor:
    """Return the convolution with a packed weight and stride 1, followed by a ReLU or not."""
    made, even = pointer(), _of([1, 1])
    _call(
        "aoti_torch_cpu_mkldnn__convolution_pointwise",
        *(x.handle, weight.handle, pointer(bias.handle), _of([padding] * 2), 2, even, 2, even, 2),
        *(1, b"relu" if relu else b"none", None, 0, c_char_p(b""), made),
    )
    return Tensor(made.value)


def max_pool(x: Tensor) -> Tensor:
    """Return the largest of each 2x2 pixels."""
    made, indices, even = pointer(), pointer(), _of([1, 1])
    two, none = _of([2, 2]), _of([0, 0])
    _call(
        "aoti_torch_cpu_max_pool2d_with_indices",
        *(x.handle, two, 2, two, 2, none, 2, even, 2, 0, made, indices),
    )
    Tensor(indices.value)
    return Tensor(made.value)


def upsampled(x: Tensor) -> Tensor:
    """Return a tensor of twice the height and width, interpolated bilinearly."""
    size = [2 * length for length in x.shape[2:]]
    return _dispatch("aten::upsample_bilinear2d", x, size, 0, None, None)


def concatenated(*tensors: Tensor) -> Tensor:
    """Return the channels of all tensors."""
    made, handles = pointer(), (pointer * len(tensors))(*(one.handle for one in tensors))
    _call("aoti_torch_cpu_cat", handles, len(tensors), 1, made)
    return Tensor(made.value)


def sigmoid(x: Tensor) -> Tensor:
    """Return the logistic function."""
    return _dispatch("aten::sigmoid", x)


def log(x: Tensor) -> Tensor:
    """Return the natural logarithm."""
    return _dispatch("aten::log", x)


def get_num_threads() -> int:
    """Return the number of threads that this thread's calls compute in."""
    found = c_uint32()
    _call("torch_get_num_threads", found)
    return found.value


def set_num_threads(count: int) -> None:
    """Set the number of threads that this thread's calls compute in."""
    _functions()[_SET_NUM_THREADS](count)


def _dispatch(name: str, *args: Any) -> Tensor:
    """Call an operator that returns one tensor; it takes over what the stack holds."""
    stack = (c_uint64 * len(args))(*map(_stacked, args))
    _call("aoti_torch_call_dispatcher", name.encode(), b"", stack)
    return Tensor(stack[0])


def _stacked(value: Any) -> int:
    """Return a value as the dispatcher's stack has it."""
    made = pointer()
    if isinstance(value, Tensor):
        _call("aoti_torch_new_tensor_handle", value.handle, made)
        return made.value or 0
    if isinstance(value, list):
        _call("torch_new_list_reserve_size", len(value), made)
        for one in value:
            _call("torch_list_push_back", made, one)
        return made.value or 0
    return int(value or 0)


def _given(value: Sequence[int]) -> int:
    """Return a list as the stack has it where the operator would take none, too."""
    made = POINTER(c_uint64)()
    _call("torch_new_stable_ivalue", made)
    made[0] = _stacked(list(value))
    return ctypes.cast(made, pointer).value or 0


def _of(numbers: Sequence[int]) -> Any:
    return (c_int64 * len(numbers))(*numbers)
