"""``python -m tests.benchmarks.report FOLDER [SUBJECTS ...]``: cost of the cohort page.

Makes results folders without images, builds the cohort page and prints a Markdown table: seconds
to build, bytes, and, where Chromium is installed, seconds until the browser has shown the page.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from pipeline.ingest import manifest
from pipeline.report.cohort import write_cohort
from tests.benchmarks.report.simulated import make

#: Written into the page by the copy that is timed; the policy of the page allows no other script.
PROBE = (
    "document.body.getBoundingClientRect();"
    " document.body.setAttribute('data-ready', performance.now().toFixed(0));"
)


def main(folder: Path, counts: list[int]) -> None:
    """Print one line a cohort."""
    print("| subjects | build, s | index.html, MB | cohort.js, kB | live, MB | browser, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for count in counts:
        root = folder / str(count)
        shutil.rmtree(root, ignore_errors=True)
        results = make(root, count)
        started = time.perf_counter()
        write_cohort(results, manifest.units(manifest.read_manifest(results.manifest)))
        spent = time.perf_counter() - started
        qc = results.cohort_page.parent
        sizes = [(qc / n).stat().st_size for n in ("index.html", "cohort.js", "cohort-live.js")]
        print(f"| {count} | {spent:.1f} | {sizes[0] / 1e6:.1f} | {sizes[1] / 1e3:.0f} "
              f"| {sizes[2] / 1e6:.1f} | {shown(results.cohort_page):.2f} |")  # fmt: skip


def shown(page: Path) -> float:
    """Seconds from the start of the navigation until rows stand and are laid out."""
    timed = page.with_name("timed.html")
    text = page.read_text(encoding="utf-8")
    text = text.replace('http-equiv="Content-Security-Policy"', 'name="without-policy"', 1)
    timed.write_text(text.replace("</body>", f"<script>{PROBE}</script></body>"), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--timeout=20000",
               f"--user-data-dir={page.parent / 'profile'}", "--dump-dom",
               f"file://{timed}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout.split('data-ready="')[1].split('"')[0]) / 1000


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(text) for text in sys.argv[2:]] or [500, 2000])
