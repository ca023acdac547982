"""Grade the grader: does it know right from wrong, can it be tricked, and does it agree with people?"""
