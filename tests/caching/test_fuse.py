"""When a store that fails is asked."""

from interlock.caching.fuse import REST_S_MAX, Fuse


def test_one_late_answer_is_forgiven_and_two_in_a_row_are_not() -> None:
    fuse = Fuse()
    assert not fuse.failed(0.0, sure=False)
    fuse.worked()
    assert not fuse.failed(1.0, sure=False)
    assert fuse.lets(1.0)
    assert fuse.failed(1.0, sure=False)
    assert fuse.blown and not fuse.lets(1.99)


def test_a_refused_connection_is_enough() -> None:
    fuse = Fuse()
    assert fuse.failed(0.0, sure=True)
    assert not fuse.lets(0.5)


def test_after_a_rest_one_question_tries_and_the_rest_doubles_until_it_works() -> None:
    fuse, now_s = Fuse(), 0.0
    fuse.failed(now_s, sure=True)
    rests = []
    for _ in range(7):
        start_s = now_s
        while not fuse.lets(now_s):
            now_s += 0.5
        rests.append(now_s - start_s)
        assert not fuse.lets(now_s), "a second question tries too"
        assert not fuse.failed(now_s, sure=True), "no news"
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, REST_S_MAX, REST_S_MAX]
    assert fuse.worked()
    assert not fuse.worked()
    assert fuse.lets(now_s) and fuse.lets(now_s)
    assert fuse.failed(now_s, sure=True)
    assert fuse.lets(now_s + 1.0)


def test_what_was_asked_before_it_was_left_alone_lengthens_nothing() -> None:
    fuse = Fuse()
    for _ in range(50):
        fuse.failed(0.0, sure=False)
    assert fuse.lets(1.0)
