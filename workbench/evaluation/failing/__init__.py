"""The wrong answers, and what is wrong with them: what rules, people and judges say."""
