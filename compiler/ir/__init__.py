"""The typed graph: values, nodes, one class an operator, verifiers and the text form."""
