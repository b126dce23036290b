"""The exercises of the lessons: a module a lesson, each exercise with its wrong answers and its solution."""
