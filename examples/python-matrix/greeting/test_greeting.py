import unittest

from greeting import greeting


class Greeting(unittest.TestCase):
    def test_everybody_is_greeted_by_name(self):
        self.assertEqual(greeting("kiln"), "Hello, kiln!")
