"""Executable tool domains, one file each."""
