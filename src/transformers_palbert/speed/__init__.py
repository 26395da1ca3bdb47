"""How fast a model is and would be: seconds measured on the machine at hand."""
