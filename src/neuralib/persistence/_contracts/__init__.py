"""Contract suites: they test whether somebody's store or codec keeps its promises."""
