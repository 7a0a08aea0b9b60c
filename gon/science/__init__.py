"""The method, the models, and what is measured on them. Imports torch; knows no runs."""
