"""`dpe reproduce`: each figure and table of the paper and the article, made from simulations."""
