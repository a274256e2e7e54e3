"""Calibration data: the forms it may take, and one sentence for each way it can be wrong."""

import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from npuopt.errors import InputError, UsageError
from npuopt.quantization import open_samples
from support.rewrites import model_from

MODEL = "(float[1,2] x, int64[3] ids) => (float[1,2] y, int64[3] z) {y = Relu(x) z = Abs(ids)}"


@pytest.fixture
def model():
    return model_from(MODEL)


def arrays(count=4):
    return {
        "x": np.arange(count * 2, dtype=np.float32).reshape(count, 1, 2),
        "ids": np.arange(count * 3, dtype=np.int64).reshape(count, 3),
    }


def saved(tmp_path, name="samples.npz", **changed):
    path = tmp_path / name
    np.savez_compressed(path, **{key: value for key, value in {**arrays(), **changed}.items() if value is not None})
    return path


def test_leading_axis_counts_samples(tmp_path, model):
    samples = open_samples(saved(tmp_path), model)
    read = list(samples)
    assert samples.count == len(read) == 4
    np.testing.assert_array_equal(read[3]["x"], [[6, 7]])
    np.testing.assert_array_equal(read[3]["ids"], [9, 10, 11])
    assert [sample["ids"][0] for sample in samples] == [0, 3, 6, 9], "samples can be read again"


def test_leading_axis_may_stand_for_a_batch_of_one(tmp_path, model):
    samples = open_samples(saved(tmp_path, x=arrays()["x"][:, 0]), model)
    assert [sample["x"].shape for sample in samples] == [(1, 2)] * 4


def test_a_few_samples_come_from_all_over(tmp_path, model):
    samples = open_samples(saved(tmp_path, **arrays(7)), model)
    assert [sample["ids"][0] // 3 for sample in samples.spread(3)] == [0, 2, 4]
    assert len(samples.spread(9)) == 7


def test_a_folder_is_read_file_by_file(tmp_path, model):
    saved(tmp_path, "b.npz", **arrays(1))
    saved(tmp_path, "a.npz", **arrays(3))
    samples = open_samples(tmp_path, model)
    assert samples.count == 4
    assert [sample["ids"][0] for sample in samples] == [0, 3, 6, 0]


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    model = model_from("(float[1,50000] x) => (float[1,50000] y) {y = Relu(x)}")
    np.savez_compressed(tmp_path / "many.npz", x=np.ones((100, 1, 50000), np.float32))
    samples = open_samples(tmp_path / "many.npz", model)
    tracemalloc.start()
    count = sum(1 for _ in samples)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 100
    assert peak < 8 * 200_000, "a few samples at most, not all 20 MB"


def test_extra_arrays_are_ignored_and_noted(tmp_path, model):
    samples = open_samples(saved(tmp_path, past=np.zeros((4, 1))), model)
    assert set(next(iter(samples))) == {"x", "ids"}
    assert len(samples.notes) == 1
    assert "past" in samples.notes[0]


def test_numbers_are_widened_where_that_loses_nothing(tmp_path, model):
    samples = open_samples(saved(tmp_path, ids=arrays()["ids"].astype(np.int32)), model)
    assert next(iter(samples))["ids"].dtype == np.int64


def test_functions_yield_samples(tmp_path, model, monkeypatch):
    (tmp_path / "mydata.py").write_text(
        "import numpy as np\n"
        "def samples():\n"
        "    for i in range(2):\n"
        "        yield {'x': np.full((1, 2), i, np.float32), 'ids': np.zeros(3, np.int64)}\n"
    )
    monkeypatch.chdir(tmp_path)
    samples = open_samples("mydata:samples", model)
    assert samples.count is None
    assert [sample["x"][0, 0] for sample in samples] == [0, 1]
    assert len(list(samples)) == 2


class Reader:
    """What ONNX Runtime's CalibrationDataReader looks like."""

    def __init__(self, count):
        self.count = count
        self.rewind()

    def rewind(self):
        self.left = iter(range(self.count))

    def get_next(self):
        index = next(self.left, None)
        return None if index is None else {"x": np.full((1, 2), index, np.float32), "ids": np.zeros(3, np.int64)}


def test_readers_of_onnx_runtime_are_taken(model):
    samples = open_samples(Reader(3), model)
    assert [sample["x"][0, 0] for sample in samples] == [0, 1, 2]
    assert len(list(samples)) == 3, "read again after rewind()"


def test_readers_that_cannot_rewind_say_so_the_second_time(model):
    class Once:
        left = [{"x": np.zeros((1, 2), np.float32), "ids": np.zeros(3, np.int64)}] * 2

        def get_next(self):
            return self.left.pop() if self.left else None

    samples = open_samples(Once(), model)
    assert len(list(samples)) == 2
    with pytest.raises(InputError, match="only once"):
        list(samples)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": None}, "lack the input ids"),
        ({"ids": None, "x": None, "idx": arrays()["ids"]}, "lack the inputs x, ids"),
        ({"x": np.zeros((4, 3, 2), np.float32)}, r"shape \[4, 3, 2\] does not fit float32\[1, 2\]"),
        ({"x": np.zeros((4, 1, 2))}, "float64 does not fit"),
        ({"x": np.zeros((4, 1, 2), np.uint8)}, "uint8 does not fit"),
        ({"x": np.zeros((3, 1, 2), np.float32)}, "differ in their number of samples"),
        ({key: value[:0] for key, value in arrays().items()}, "no samples"),
        ({"x": np.array([None] * 4)}, "pickled objects are refused"),
        ({"x": np.asfortranarray(np.zeros((4, 1, 2), np.float32))}, "Fortran order"),
    ],
)
def test_headers_that_do_not_fit_are_refused_at_once(tmp_path, model, changed, message):
    with pytest.raises(InputError, match=message):
        open_samples(saved(tmp_path, **changed), model)


def test_misspelt_inputs_get_a_suggestion(tmp_path, model):
    with pytest.raises(InputError, match="did you mean ids by idx"):
        open_samples(saved(tmp_path, ids=None, idx=arrays()["ids"]), model)


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_numbers_that_are_none_are_refused_by_sample(tmp_path, model, bad, word):
    x = arrays()["x"]
    x[2, 0, 1] = bad
    with pytest.raises(InputError, match=f"sample 2, input x: there is {word}"):
        list(open_samples(saved(tmp_path, x=x), model))


def test_an_empty_folder_has_no_samples(tmp_path, model):
    with pytest.raises(InputError, match="no samples"):
        open_samples(tmp_path, model)


def test_files_that_are_no_archives_are_refused(tmp_path, model):
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match=r"not an \.npz file"):
        open_samples(tmp_path / "text.npz", model)


def test_archives_cut_short_are_refused(tmp_path, model):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="damaged"):
        open_samples(path, model)


def test_changed_bytes_are_found_by_their_checksum(tmp_path, model):
    path = tmp_path / "stored.npz"
    np.savez(path, **arrays())
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(np.float32(5).tobytes())] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="damaged"):
        list(open_samples(path, model))


def test_members_that_are_no_arrays_are_refused(tmp_path, model):
    path = saved(tmp_path, ids=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("ids.npy", b"not an array")
    with pytest.raises(InputError, match="not a numpy array"):
        open_samples(path, model)


def test_what_is_not_there_is_not_found(tmp_path, model):
    with pytest.raises(InputError, match="not found"):
        open_samples(tmp_path / "absent.npz", model)
    with pytest.raises(UsageError, match="cannot be read from a int"):
        open_samples(7, model)


@pytest.mark.parametrize(
    ("body", "spec", "message"),
    [
        ("", "theirs:samples", "no function samples"),
        ("", "no_such_module_at_all:samples", "cannot be imported"),
        ("def samples():\n    raise ValueError('boom')", "theirs:samples", "boom"),
        ("def samples():\n    yield 3\n", "theirs:samples", "int instead of a dict"),
        ("def samples():\n    yield {}\n    1 / 0\n", "theirs:samples", "lack the inputs"),
        ("def samples():\n    return []\n", "theirs:samples", "no samples"),
        ("def samples():\n    yield {'x': [1], 'ids': [2]}\n", "theirs:samples", "list instead of a numpy array"),
        ("def samples():\n    1 / 0\n    yield\n", "theirs:samples", "division by zero"),
    ],
)
def test_functions_that_fail_are_one_sentence(tmp_path, model, monkeypatch, body, spec, message):
    (tmp_path / "theirs.py").write_text(body)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    with pytest.raises(InputError, match=message):
        list(open_samples(spec, model))
    sys.modules.pop("theirs", None)
