"""Laws of the cores that a process may use."""

import os

import pytest

from geodecloud.settings.cores import available_threads


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1000 100000\n"}, 1),
        # The path of the host, of which the container does not see the upper part.
        ({"proc/self/cgroup": "0::/docker/a\n", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
        # A group within a group: the tighter one counts.
        (
            {
                "proc/self/cgroup": "0::/user.slice/job\n",
                "sys/fs/cgroup/user.slice/cpu.max": "100000 50000",
                "sys/fs/cgroup/user.slice/job/cpu.max": "500000 100000",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/a\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"proc/self/cgroup": "nonsense\n\n0::/../x", "sys/fs/cgroup/cpu.max": "x"}, None),
    ],
)
def test_a_container_has_as_many_threads_as_its_quota(tmp_path, monkeypatch, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    assert available_threads(tmp_path) == (quota or 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1), raising=False)
    assert available_threads(tmp_path) == 1
