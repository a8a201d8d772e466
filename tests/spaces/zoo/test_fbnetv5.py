"""FBNetV5: the suite; the rest is in test_fbnetv5_sizes and test_fbnetv5_networks."""

from __future__ import annotations

from netloom.spaces import DecisionSpace
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.fbnetv5 import FBNetV5


class TestFBNetV5(SpaceContract):
    draws = 10
    networks = 2

    def make(self) -> DecisionSpace:
        return FBNetV5(preset="tiny", resolution=32, in_channels=1)

    def reduced(self) -> DecisionSpace:
        two = {"channels_list": [8, 8], "entries": ["k3_e2", "k3_e2"], "blocks": [1, 2]}
        return FBNetV5(preset="tiny", **two, operators=["k3_e2", "k3_e2"], stages=2)

    def other_options(self) -> DecisionSpace:
        return FBNetV5(preset="tiny", resolution=32, in_channels=1, tasks=["classification"])


class TestOneTask(TestFBNetV5):
    draws = 4

    def make(self) -> DecisionSpace:
        return FBNetV5(preset="tiny", resolution=32, in_channels=1, tasks=["classification"])

    def other_options(self) -> DecisionSpace:
        return FBNetV5(preset="tiny", resolution=32, in_channels=1, tasks=[])


class TestMapsAlone(TestFBNetV5):
    draws = 4

    def make(self) -> DecisionSpace:
        return FBNetV5(preset="tiny", resolution=32, tasks=[])


class TestAMaskForEach(TestFBNetV5):
    draws = 4

    def make(self) -> DecisionSpace:
        return FBNetV5(preset="tiny", resolution=32, in_channels=1, masks="each", stages=2)

    def other_options(self) -> DecisionSpace:
        return FBNetV5(preset="tiny", resolution=32, in_channels=1)
