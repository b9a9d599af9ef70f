"""Builders of mubench's own data: fictitious people, celebrities, their questions and pictures.

Everything is drawn and written from a seed; nothing is downloaded.
"""
