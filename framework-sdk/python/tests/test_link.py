"""Which master is talked to next."""

import unittest

from stoa.link import Finder


class Finding(unittest.TestCase):
    def test_masters_that_it_is_told_of_are_tried_and_those_it_knew_stay(self) -> None:
        finder = Finder(("a:1", "b:1"))
        finder.learn(["c:1", "b:1"])
        self.assertEqual({finder.take() for _ in range(3)}, {"a:1", "b:1", "c:1"})
        finder.learn(f"x{n}:1" for n in range(40))
        self.assertEqual(len({finder.take() for _ in range(16)}), 16)


if __name__ == "__main__":
    unittest.main()
