"""How good a model is: scores against labels, agreement between models, and the pages that show it."""
