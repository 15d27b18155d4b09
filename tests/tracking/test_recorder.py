"""Records reach the sink once and in order, from threads and from forked processes."""

import os
import threading

import pytest

from synthome.tracking.recorder import Recorder
from synthome.tracking.records import Tags


class Sink:
    def __init__(self):
        self.batches, self.status = [], None

    def write(self, records):
        self.batches.append(list(records))

    def close(self, status, *, wait=True):
        self.status = status
        return True


@pytest.fixture
def sink():
    return Sink()


def test_records_wait_for_the_flush(sink):
    recorder = Recorder(sink)
    recorder.add(Tags({"a": "1"}))
    recorder.add(Tags({"b": "2"}), Tags({"c": "3"}))
    assert sink.batches == []
    recorder.flush()
    recorder.flush()  # nothing new: the sink is left alone
    assert sink.batches == [[Tags({"a": "1"}), Tags({"b": "2"}), Tags({"c": "3"})]]
    recorder.close("FINISHED")


def test_closing_flushes_first(sink):
    recorder = Recorder(sink)
    recorder.add(Tags({"a": "1"}))
    recorder.close("FAILED")
    assert sink.batches == [[Tags({"a": "1"})]]
    assert sink.status == "FAILED"
    assert not recorder._folder.exists()


def test_no_record_of_many_threads_is_lost(sink):
    recorder = Recorder(sink)

    def work(number):
        for i in range(200):
            recorder.add(Tags({f"{number}.{i}": ""}))
            recorder.flush()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close("FINISHED")
    keys = [key for batch in sink.batches for record in batch for key in record.values]
    assert len(keys) == len(set(keys)) == 800


@pytest.mark.filterwarnings("ignore:This process.*fork")
def test_a_forked_process_hands_its_records_to_its_parent(sink):
    """It must not touch the connection that it inherited, nor send what the parent holds."""
    recorder = Recorder(sink)
    recorder.add(Tags({"parent": "1"}))
    child = os.fork()
    if child == 0:
        recorder.add(Tags({"child": "ü\n"}))
        recorder.flush()
        recorder.close("FINISHED")
        os._exit(len(sink.batches))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    recorder.close("FINISHED")
    assert sink.batches == [[Tags({"parent": "1"}), Tags({"child": "ü\n"})]]
