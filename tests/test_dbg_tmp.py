import sys; sys.path.insert(0,"/work/main/tests")
from test_browser import *
def test_dbg(page, lab, tmp_path):
    run_all(page, lab, "04_launch.ipynb")
    watched = outputs(page, "job = watch(follow(client, job))")
    wait_for_end(page, tmp_path / "04.png")
    print([ascii(t) for t in watched.locator(".legendtext").all_text_contents()])
    print([ascii(t) for t in page.locator(".legendtext").all_text_contents()])
    print(watched.count())
