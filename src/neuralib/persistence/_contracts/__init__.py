"""Contract suites: they try out whether a store or a codec of anybody keeps its promises."""
