import threading

import pytest

from argus_inference.preparation import prepare_ahead


def test_the_next_item_is_prepared_while_one_is_used_and_no_more():
    begun, prepared = [], {item: threading.Event() for item in range(4)}

    def prepare(item):
        begun.append(item)
        prepared[item].set()
        return item * 10

    used = []
    for item, ready in prepare_ahead(prepare, range(4)):
        # Nobody asks for the next one yet, and it is made all the same.
        assert prepared[min(item + 1, 3)].wait(timeout=30)
        used.append((item, ready.result()))
        assert begun == list(range(min(item + 2, 4)))
    assert used == [(0, 0), (1, 10), (2, 20), (3, 30)]


def test_an_error_belongs_to_its_item_and_ends_no_other():
    def prepare(item):
        return 1 / item

    outcomes = {item: ready.exception() for item, ready in prepare_ahead(prepare, (2, 0, 1))}
    assert [type(outcomes[item]) for item in (2, 0, 1)] == [type(None), ZeroDivisionError, type(None)]


def test_a_run_that_stops_leaves_no_thread_behind():
    def use():
        for item, ready in prepare_ahead(str, range(100)):
            ready.result()
            if item == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("preparation")]
