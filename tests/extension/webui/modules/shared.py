"""Options: one that nobody has set has its default."""


class OptionInfo:
    def __init__(self, default=None, label="", section=None):
        self.default, self.label, self.section = default, label, section


class Options:
    def __init__(self):
        self.data, self.data_labels = {}, {}

    def add_option(self, name, info):
        self.data_labels[name] = info

    def __getattr__(self, name):
        if name in self.data:
            return self.data[name]
        if name in self.data_labels:
            return self.data_labels[name].default
        raise AttributeError(name)


opts = Options()
