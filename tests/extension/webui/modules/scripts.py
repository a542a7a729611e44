"""Scripts of a tab: each has a part of the values behind the page's own fields."""


class Script:
    """A script with as many arguments as ``names`` has words."""

    setup_for_ui_only = False
    args_from = args_to = 0

    def __init__(self, title, names=""):
        self._title, self.names = title, names.split()

    def title(self):
        return self._title

    def setup(self, p, *values):
        """Called when the processing object has its values."""


class OfThePage(Script):
    """One whose values are fields of the processing object."""

    setup_for_ui_only = True

    def setup(self, p, *values):
        for name, value in zip(self.names, values, strict=True):
            setattr(p, name, value)


class Runner:
    def __init__(self, alwayson, selectable):
        self.alwayson_scripts, self.selectable_scripts = alwayson, selectable
        last = 1  # the first value is the number of the selected script
        for script in [*alwayson, *selectable]:
            script.args_from, script.args_to = last, last + len(script.names)
            last = script.args_to
        self.size = last

    def setup_scrips(self, p, *, is_ui=True):
        for script in self.alwayson_scripts:
            script.setup(p, *p.script_args[script.args_from : script.args_to])

    def run(self, p, *values):
        raise AssertionError("it would be painted")


def _runner():
    built_in = [
        OfThePage("Sampler", "steps sampler_name scheduler"),
        OfThePage("Seed", "seed subseed"),
        Script("ControlNet", "unit0 unit1"),
        Script("Never OOM Integrated", "enabled_unet enabled_vae"),
        Script("StyleAlign Integrated", "strength thing"),
        Script("One without arguments"),
    ]
    return Runner(built_in, [Script("X/Y/Z plot", "axis values"), Script("Prompt matrix", "at_start")])


scripts_txt2img, scripts_img2img = _runner(), _runner()
