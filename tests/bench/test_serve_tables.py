from serve_bench.serve_tables import engines_table

SPEED = {
    "requests": 16,
    "one_after_another_seconds": 12.04,
    "together_seconds": 2.0,
    "times_faster": 6.02,
    "equal_reports": 15,
    "tokens": 128.0,
    "first_words_alone_seconds": 0.104,
    "first_words_together_seconds": 0.651,
    "load_before": 0.4,
}
BORE = {
    "long_run": {"requests": 300, "answers": {"200": 300}, "memory_mb": [1300.4, 1299.6]},
    "at_once": {"requests": 200, "answers": {"200": 47, "429": 153}},
    "killed": {"left_processes": 0, "left_files": 0, "seconds_to_that_answer": 28.6},
}


def test_the_table_of_engines_has_a_row_for_what_was_measured():
    told = engines_table({"vllm": SPEED, "endurance": BORE}).splitlines()
    assert told[2] == "| vLLM | scans | 128 | 12.0 s | 2.0 s | 6.0 | 0.10 s, 0.65 s | 15 of 16 | 0 |" and told[3] == ""
    assert "of 300 requests 300 answered 200; all processes together took 1,300 to 1,300 MB" in told[4]
    assert "Of 200 at once 47 answered 200, 153 answered 429. Killed while it wrote, it left 0 processes" in told[4]
