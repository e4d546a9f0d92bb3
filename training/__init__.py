"""How the built-in model is made: from icon sets with free licences to the weights in generation/starter."""
