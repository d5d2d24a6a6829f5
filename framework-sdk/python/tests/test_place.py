"""Placing tasks into offers."""

import unittest

from stoa import Offer, Room, shape
from stoa.v1 import types_pb2 as t


def offer(role: str = "eng/web") -> Offer:
    plain = t.Amount(scalars=t.Quantities(cpus_milli=1000, mem_bytes=1 << 30))
    plain.ranges.add(name="ports").ranges.extend([t.Range(first=31000, last=31000), t.Range(first=31005, last=31007)])
    kept = t.Amount(scalars=t.Quantities(cpus_milli=500))
    disk = t.Amount(scalars=t.Quantities(disk_bytes=1 << 30))
    portions = [
        t.Portion(amount=plain),
        t.Portion(reservation="eng", amount=kept),
        t.Portion(reservation="other", amount=kept),
        t.Portion(reservation="eng", volume="v", amount=disk),
    ]
    return Offer(id="o", role=role, resources=t.Resources(portions=portions))


class Placing(unittest.TestCase):
    def test_what_is_reserved_goes_first_and_that_of_others_never(self) -> None:
        room = Room(offer())
        task = room.launch("t1", shape(700, 1 << 20), shell="true")
        cpus = {p.reservation: p.amount.scalars.cpus_milli for p in task.resources.portions}
        self.assertEqual(cpus, {"eng": 500, "": 200})
        self.assertTrue(room.fits(shape(800, 0)))
        self.assertFalse(room.fits(shape(801, 0)))
        self.assertTrue(Room(offer("english")).fits(shape(1000, 0)))
        self.assertFalse(Room(offer("english")).fits(shape(1001, 0)), "eng is not above english")

    def test_a_miss_takes_nothing(self) -> None:
        room = Room(offer())
        with self.assertRaisesRegex(ValueError, "t1 does not fit"):
            room.launch("t1", shape(100, 0, ports=5), argv=["true"])
        self.assertEqual(room.tasks, [])
        self.assertTrue(room.fits(shape(1500, 1 << 30, ports=4)))

    def test_ports_are_the_smallest_and_each_is_given_once(self) -> None:
        room = Room(offer())
        given = []
        for number in (1, 2):
            task = room.launch(f"t{number}", shape(100, 0, ports=2), argv=["true"])
            for portion in task.resources.portions:
                for named in portion.amount.ranges:
                    given.append([(r.first, r.last) for r in named.ranges])
        self.assertEqual(given, [[(31000, 31000), (31005, 31005)], [(31006, 31007)]])
        self.assertFalse(room.fits(shape(1, 0, ports=1)))

    def test_secrets_are_named_and_may_have_another_file(self) -> None:
        room = Room(offer())
        plain = room.launch("t1", shape(100, 0), shell="true", secrets=["db"])
        other = room.launch("t2", shape(100, 0), shell="true", secrets={"key.pem": "tls"})
        found = [(s.name, s.file) for task in (plain, other) for s in task.command.secrets]
        self.assertEqual(found, [("db", ""), ("tls", "key.pem")])
