from resumed import memory


def test_the_control_group_is_asked_first(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("1:cpu:/x\n0::/resumed.slice/one\n")
    (tmp_path / "resumed.slice/one").mkdir(parents=True)
    (tmp_path / "resumed.slice/one/memory.events").write_text("oom 9\noom_kill 3\n")
    (tmp_path / "vmstat").write_text("oom_kill 5\n")

    assert memory.kills(proc=tmp_path, cgroups=tmp_path) == 3


def test_without_a_group_of_our_own_the_machine_is_asked(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("0::/gone\n")
    (tmp_path / "vmstat").write_text("nr_free 1\noom_kill 5\n")

    assert memory.kills(proc=tmp_path, cgroups=tmp_path) == 5


def test_a_kernel_that_does_not_count_has_no_kills(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("1:cpu:/\n")
    (tmp_path / "vmstat").write_text("nr_free 1\n")

    assert memory.kills(proc=tmp_path, cgroups=tmp_path) == 0
    assert memory.kills(proc=tmp_path / "none", cgroups=tmp_path) == 0
    assert memory.kills() >= 0
