"""Measures by networks that learnt what people see or hear: LPIPS, FVD, LSE. Their weights ship in no package and are given."""
