//! The lab does what its documentation says; every other suite under systemd stands on it.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use harness::{
    lab::{Lab, Network, PARTS, RootDisk},
    parts::trial,
    wait,
};
use libtest_mimic::Trial;

/// Generous: reached by failing tests alone.
const LIMIT: Duration = Duration::from_secs(60);

/// Tells a copy of this program to be a test that gets killed.
const VICTIM: &str = "NOVACULA_LAB_VICTIM";

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

type Body = fn() -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let bodies: [(&str, Body); 11] = [
        ("crash_loop_triggers_on_failure", crash_loop),
        ("power_cut_loses_what_was_not_synced", power_cut),
        ("power_cut_undoes_a_rename_without_fsync", rename_without_fsync),
        ("power_cut_spares_what_a_root_on_disk_synced", root_on_disk),
        ("orderly_stop_keeps_everything", orderly_stop),
        ("two_labs_with_one_unit_name_do_not_meet", two_labs),
        ("nothing_of_the_host_is_started", host_units),
        ("links_of_the_lab_lead_to_the_lab", links),
        ("pulled_cable_ends_the_network", cable),
        ("panic_leaves_nothing_behind", panicking),
        ("killed_test_leaves_nothing_running", killed),
    ];
    bodies.into_iter().map(|(name, body)| trial(format!("lab::{name}"), PARTS, body)).collect()
}

fn crash_loop() -> Result<()> {
    let mut lab = Lab::builder("crash-loop").build()?;
    lab.write("/opt/app/v1", "#!/bin/bash\nexec sleep infinity\n")?;
    lab.write("/opt/app/v2", "#!/bin/bash\nsleep 0.2; exit 3\n")?;
    lab.write(
        "/opt/app/rollback",
        "#!/bin/bash\nset -e\nln -sfn v1 /opt/app/next; mv -T /opt/app/next /opt/app/current\n\
         systemctl reset-failed app.service\nsystemctl --no-block start app.service\n",
    )?;
    lab.unit(
        "app.service",
        "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=120\nOnFailure=rollback.service\n\
         [Service]\nExecStart=/bin/bash /opt/app/current\nRestart=on-failure\nRestartSec=200ms\n",
    )?;
    lab.unit("rollback.service", "[Service]\nType=oneshot\nExecStart=/bin/bash /opt/app/rollback\n")?;
    std::os::unix::fs::symlink("v2", lab.path("/opt/app")?.join("current"))?;
    lab.enable("app.service")?;
    lab.boot()?;

    wait::until("the rollback", LIMIT, || lab.run(["readlink", "/opt/app/current"]), |link| link == "v1")?;
    lab.wait_for("app.service", "ActiveState", "active", LIMIT)?;
    let messages: Vec<_> = lab.journal(Some("app.service"))?.into_iter().map(|entry| entry.message).collect();
    let failures = messages.iter().filter(|message| message.contains("status=3")).count();
    ensure!(failures == 3, "three starts of v2, not {failures}: {messages:#?}");
    ensure!(messages.iter().any(|message| message.contains("Start request repeated too quickly")));
    Ok(())
}

fn power_cut() -> Result<()> {
    let mut lab = Lab::builder("cut").data_disk("/data").build()?;
    lab.boot()?;
    let before = lab.run(["cat", "/proc/sys/kernel/random/boot_id"])?;
    let identity = lab.read("/etc/machine-id")?;
    // The second file is written after the sync, so that nothing else makes it durable.
    lab.run(["bash", "-c", "echo kept > /data/synced && sync /data/synced /data && echo gone > /data/not-synced"])?;
    lab.power_cut()?;
    ensure!(!lab.is_running(), "a machine without power is off");
    let left = lab.read("/data/not-synced").unwrap_or_default();
    ensure!(left.is_empty(), "not synced, yet there: {left:?}");
    lab.boot()?;
    ensure!(lab.run(["cat", "/data/synced"])? == "kept");
    ensure!(lab.run(["cat", "/proc/sys/kernel/random/boot_id"])? != before, "a boot of its own");
    ensure!(lab.read("/etc/machine-id")? == identity, "the same machine");
    Ok(())
}

/// The mistake that the crash matrix must be able to see.
fn rename_without_fsync() -> Result<()> {
    let mut lab = Lab::builder("rename").data_disk_of("/opt/app", 16).build()?;
    lab.write("/opt/app/binary", "old")?;
    lab.boot()?;
    lab.run(["bash", "-c", "echo -n new > /opt/app/next && mv /opt/app/next /opt/app/binary"])?;
    ensure!(lab.run(["cat", "/opt/app/binary"])? == "new");
    lab.power_cut()?;
    ensure!(lab.read("/opt/app/binary")? == b"old", "the rename was not made durable");
    lab.boot()?;
    let swap = "echo -n new > /opt/app/next && sync /opt/app/next && mv /opt/app/next /opt/app/binary && sync /opt/app";
    lab.run(["bash", "-c", swap])?;
    lab.power_cut()?;
    ensure!(lab.read("/opt/app/binary")? == b"new", "the rename was made durable");
    Ok(())
}

fn root_on_disk() -> Result<()> {
    let mut lab = Lab::builder("root-on-disk").root(RootDisk::Ext4).build()?;
    lab.unit("app.service", SLEEPER)?;
    lab.enable("app.service")?;
    lab.boot()?;
    lab.run(["bash", "-c", "echo kept > /opt/synced && sync /opt/synced /opt"])?;
    lab.power_cut()?;
    lab.boot()?;
    ensure!(lab.run(["cat", "/opt/synced"])? == "kept");
    lab.wait_for("app.service", "ActiveState", "active", LIMIT)
}

fn orderly_stop() -> Result<()> {
    let mut lab = Lab::builder("stop").data_disk("/data").build()?;
    lab.boot()?;
    lab.run(["bash", "-c", "echo kept > /data/file"])?;
    lab.reboot()?;
    ensure!(lab.run(["cat", "/data/file"])? == "kept");
    lab.stop()?;
    ensure!(lab.read("/data/file")? == b"kept\n", "readable while off");
    ensure!(lab.run(["true"]).is_err(), "no commands while off");
    Ok(())
}

fn two_labs() -> Result<()> {
    let mut labs = [Lab::builder("twin").build()?, Lab::builder("twin").build()?];
    for lab in &mut labs {
        lab.unit("app.service", SLEEPER)?;
        lab.enable("app.service")?;
        lab.boot()?;
        lab.wait_for("app.service", "ActiveState", "active", LIMIT)?;
    }
    let [one, other] = &labs;
    one.write("/opt/mark", "one")?;
    ensure!(!other.exists("/opt/mark")?, "each has its own root");
    ensure!(one.read("/etc/machine-id")? != other.read("/etc/machine-id")?, "each is a machine of its own");
    // Units of one name must not share a control group, or stopping one would wait for the other.
    let before = other.property("app.service", "MainPID")?;
    one.run(["systemctl", "stop", "app.service"])?;
    ensure!(one.property("app.service", "ActiveState")? == "inactive");
    ensure!(other.property("app.service", "MainPID")? == before);
    ensure!(other.property("app.service", "ActiveState")? == "active");
    Ok(())
}

fn host_units() -> Result<()> {
    let mut lab = Lab::builder("bare").build()?;
    lab.boot()?;
    lab.wait_for("multi-user.target", "ActiveState", "active", LIMIT)?;
    let list = ["systemctl", "list-units", "--type=service", "--state=running", "--plain", "--no-legend"];
    let running = lab.run(list)?;
    let names: Vec<_> = running.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(names == ["systemd-journald.service"], "nothing but the journal runs: {names:?}");
    ensure!(lab.run(["systemctl", "is-system-running"])? == "running", "nothing failed");
    Ok(())
}

fn links() -> Result<()> {
    let lab = Lab::builder("links").data_disk("/data").build()?;
    let outside = tempfile::tempdir()?;
    let name = outside.path().join("mark");
    std::os::unix::fs::symlink(outside.path(), lab.path("/opt/out")?)?;
    std::os::unix::fs::symlink(outside.path(), lab.path("/data/out")?)?;
    lab.write("/opt/out/mark", "root")?;
    lab.write("/data/out/mark", "data")?;
    ensure!(!name.exists(), "an absolute link led out to the host");
    ensure!(lab.read(&name)? == b"data", "it leads to the same path inside");
    std::os::unix::fs::symlink("circle", lab.path("/opt")?.join("circle"))?;
    ensure!(lab.path("/opt/circle").is_err(), "a circle has no end");
    Ok(())
}

fn cable() -> Result<()> {
    let mut lab = Lab::builder("cable").network(Network::Own).build()?;
    lab.boot()?;
    let host = lab.host_address().context("a cable has two ends")?;
    let listener = TcpListener::bind((host, 0))?;
    let port = listener.local_addr()?.port();
    let hello = format!("echo hello > /dev/tcp/{host}/{port}");
    lab.run(["bash", "-c", &hello])?;
    let mut heard = String::new();
    let (mut stream, peer) = listener.accept()?;
    stream.read_to_string(&mut heard)?;
    ensure!(heard == "hello\n" && Some(peer.ip()) == lab.address().map(Into::into));
    lab.unplug()?;
    ensure!(!lab.exec(["timeout", "1", "bash", "-c", &hello])?.status.success(), "the cable is out");
    lab.plug()?;
    lab.run(["bash", "-c", &hello])?;
    Ok(())
}

fn panicking() -> Result<()> {
    let mut leader = None;
    let ended = catch_unwind(AssertUnwindSafe(|| -> Result<()> {
        let mut lab = Lab::builder("panic").root(RootDisk::Ext4).data_disk("/data").build()?;
        lab.boot()?;
        leader = Some(lab.leader()?);
        // Resumed, not raised, so that no message frightens the reader of a good run.
        std::panic::resume_unwind(Box::new("a test fails"))
    }));
    ensure!(ended.is_err(), "the test panicked");
    let leader = leader.context("the machine was on")?;
    ensure!(!running(leader), "the machine still runs");
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains("novacula-lab"), "still mounted: {mounts}");
    let name = format!("panic-{}", std::process::id());
    ensure!(left_in(Path::new("/var/tmp/novacula-lab"), &name).is_empty(), "its folder is left");
    let images = Command::new("losetup").arg("--list").output()?;
    ensure!(!String::from_utf8_lossy(&images.stdout).contains(&name), "its loop devices are left");
    Ok(())
}

fn killed() -> Result<()> {
    let mut victim = Command::new(env::current_exe()?).env(VICTIM, "1").stdout(Stdio::piped()).spawn()?;
    let output = victim.stdout.take().context("the victim has an output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let leader: u32 = line.trim().parse().with_context(|| format!("the victim said {line:?}"))?;
    ensure!(running(leader), "the victim's machine is on");
    let folder = Path::new("/var/tmp/novacula-lab");
    let name = format!("victim-{}", victim.id());
    victim.kill()?;
    victim.wait()?;
    wait::until("the machine to end", LIMIT, || Ok(running(leader)), |running| !running)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains(&name), "still mounted: {mounts}");
    drop(Lab::builder("sweeper").build()?);
    ensure!(left_in(folder, &name).is_empty(), "the next lab sweeps the folder");
    Ok(())
}

/// Run as the victim, makes a lab, says its leader, and waits to be killed.
pub(crate) fn sleep_if_told() {
    if env::var_os(VICTIM).is_none() {
        return;
    }
    let mut lab = Lab::builder("victim").data_disk("/data").build().expect("the parent trial has the parts");
    lab.boot().expect("the victim's machine boots");
    say(lab.leader().expect("the machine is on"));
    loop {
        std::thread::park();
    }
}

#[expect(clippy::print_stdout, reason = "the victim's one word to its parent")]
fn say(leader: u32) {
    println!("{leader}");
}

fn running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Dead but not collected is not running.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn left_in(folder: &Path, name: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|left| left.starts_with(name)).collect()
}
