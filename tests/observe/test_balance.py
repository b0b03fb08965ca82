"""The balance holds where every record is completed, dead, or unfinished in a stopped run."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.observe.balance import Balance


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_balance_is_an_equation_exactly_when_it_holds(read: int, done: int, dead: int) -> None:
    balance = Balance(read, done, dead)
    assert balance.holds(finished=True) == (read == done + dead)
    assert balance.holds(finished=False) == (read >= done + dead)
    left, right = str(balance).replace("≠", "=").split(" = ")
    numbers = [int(part.split()[-1].replace(",", "")) for part in right.split(" + ")]
    assert (int(left.split()[1].replace(",", "")) == sum(numbers)) == ("≠" not in str(balance))
