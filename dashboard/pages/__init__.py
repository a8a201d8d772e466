"""The pages: a layout and callbacks each, over views."""
