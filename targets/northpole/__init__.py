"""northpole: a NorthPole-class chip in two files, as an example of a target."""
