"""Formats of public checkpoints"""
