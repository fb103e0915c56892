//! Every reason that a cluster can give, how long each has to last, and what rolls nobody back.

use proptest::prelude::*;

use super::*;

const OLD: &str = "registry.example/operator@sha256:aa";
const NEW: &str = "registry.example/operator@sha256:bb";
const SECOND: Duration = Duration::from_secs(1);

fn trial() -> Trial {
    Trial { previous_image: OLD.to_owned(), target_image: NEW.to_owned(), age: SECOND * 30 }
}

fn rollout(pods: Vec<Pod>) -> Rollout {
    Rollout { image: NEW.to_owned(), pods, ..Rollout::default() }
}

fn pod(container: Container) -> Pod {
    let container = Container { name: "operator".to_owned(), ..container };
    Pod { name: "operator-b".to_owned(), phase: "Pending".to_owned(), containers: vec![container], ..Pod::default() }
}

fn waiting(reason: &str) -> Pod {
    pod(Container { waiting: Some((reason.to_owned(), "because".to_owned())), ..Container::default() })
}

/// Seen unchanged from the first moment until `wait` later.
fn after(rollout: &Rollout, wait: Duration) -> Finding {
    let mut judge = Judge::new(Patience::default());
    let first = judge.look(rollout, &trial(), SECOND);
    if wait.is_zero() { first } else { judge.look(rollout, &trial(), SECOND + wait) }
}

fn code(finding: Finding) -> Option<ErrorCode> {
    match finding {
        Finding::Failed(fault) | Finding::FailedUnlessOutage(fault) => Some(fault.code),
        _ => None,
    }
}

#[test]
fn each_reason_of_a_container_counts_when_it_lasts() {
    let patience = Patience::default();
    for (reason, expected, lasts) in [
        ("ImagePullBackOff", ErrorCode::ImagePull, patience.pull),
        ("ErrImagePull", ErrorCode::ImagePull, patience.pull),
        ("InvalidImageName", ErrorCode::ImagePull, Duration::ZERO),
        ("CreateContainerConfigError", ErrorCode::ContainerConfig, patience.container),
        ("RunContainerError", ErrorCode::ContainerConfig, patience.container),
    ] {
        let seen = rollout(vec![waiting(reason)]);
        if !lasts.is_zero() {
            assert_eq!(after(&seen, lasts - SECOND), Finding::Wait, "{reason} may pass");
        }
        assert_eq!(code(after(&seen, lasts)), Some(expected), "{reason}");
    }
    assert_eq!(after(&rollout(vec![waiting("ContainerCreating")]), SECOND * 600), Finding::Wait);
}

#[test]
fn reasons_that_alternate_are_one() {
    let mut judge = Judge::new(Patience::default());
    for second in 0..15 {
        let reason = if second % 2 == 0 { "ErrImagePull" } else { "ImagePullBackOff" };
        assert_eq!(judge.look(&rollout(vec![waiting(reason)]), &trial(), SECOND * second), Finding::Wait);
    }
    let last = judge.look(&rollout(vec![waiting("ErrImagePull")]), &trial(), SECOND * 15);
    assert_eq!(code(last), Some(ErrorCode::ImagePull));
}

#[test]
fn a_reason_that_went_away_begins_anew() {
    let (bad, good) = (rollout(vec![waiting("ErrImagePull")]), rollout(vec![waiting("ContainerCreating")]));
    let mut judge = Judge::new(Patience::default());
    for (seen, at) in [(&bad, 0), (&bad, 14), (&good, 15), (&bad, 16), (&bad, 30)] {
        assert_eq!(judge.look(seen, &trial(), SECOND * at), Finding::Wait, "at {at}");
    }
}

#[test]
fn crashes_count_by_their_number() {
    let crashed = |restarts, reason: &str, exit| {
        pod(Container {
            waiting: Some(("CrashLoopBackOff".to_owned(), String::new())),
            restarts,
            last_reason: Some(reason.to_owned()),
            last_exit_code: Some(exit),
            ..Container::default()
        })
    };
    assert_eq!(after(&rollout(vec![crashed(1, "Error", 3)]), SECOND * 60), Finding::Wait);
    for (reason, exit, expected) in [
        ("Error", 3, ErrorCode::CrashLoop),
        ("Completed", 0, ErrorCode::CleanExit),
        ("OOMKilled", 137, ErrorCode::OutOfMemory),
    ] {
        assert_eq!(code(after(&rollout(vec![crashed(2, reason, exit)]), Duration::ZERO)), Some(expected));
    }
    let ready = pod(Container { ready: true, running: true, restarts: 5, ..Container::default() });
    assert_eq!(after(&rollout(vec![ready]), SECOND * 60), Finding::Wait, "it is up now");
}

#[test]
fn what_does_not_count_yet_is_said() {
    let says = |seen: &Rollout| waits_out(seen).map(|waiting| waiting.error_code);
    let homeless = Pod { unschedulable: Some("0/3 nodes".to_owned()), ..Pod::default() };
    let crashed = |restarts, ready| pod(Container { restarts, ready, last_exit_code: Some(3), ..Container::default() });
    for (pods, expected) in [
        (vec![waiting("ImagePullBackOff")], Some(ErrorCode::ImagePull)),
        (vec![homeless], Some(ErrorCode::Unschedulable)),
        (vec![crashed(1, false)], Some(ErrorCode::CrashLoop)),
        (vec![crashed(1, true)], None),
        (vec![crashed(0, false)], None),
        (vec![waiting("ContainerCreating")], None),
        (Vec::new(), None),
    ] {
        assert_eq!(says(&rollout(pods.clone())), expected, "{pods:?}");
    }
}

#[test]
fn a_pod_that_nobody_takes_and_one_that_is_refused() {
    let homeless = Pod { unschedulable: Some("0/3 nodes".to_owned()), ..Pod::default() };
    let seen = rollout(vec![homeless]);
    assert_eq!(after(&seen, SECOND * 60), Finding::Wait, "a node may be on its way");
    assert_eq!(code(after(&seen, SECOND * 90)), Some(ErrorCode::Unschedulable));
    let refused = Rollout { refused: Some("exceeded quota: pods=1".to_owned()), ..rollout(Vec::new()) };
    assert_eq!(code(after(&refused, SECOND * 20)), Some(ErrorCode::AdmissionRefused));
}

#[test]
fn a_pod_that_runs_and_is_not_ready_counts_only_when_there_is_no_outage() {
    let running = pod(Container { running: true, ..Container::default() });
    let seen = rollout(vec![running]);
    assert_eq!(after(&seen, SECOND * 600), Finding::Wait, "the Deployment has not given up");
    let seen = Rollout { deadline_exceeded: Some("too long".to_owned()), ..seen };
    assert!(
        matches!(after(&seen, Duration::ZERO), Finding::FailedUnlessOutage(fault) if fault.code == ErrorCode::NeverReady)
    );
    let nothing = Rollout { pods: Vec::new(), ..seen };
    assert_eq!(code(after(&nothing, Duration::ZERO)), Some(ErrorCode::ProgressDeadline));
}

#[test]
fn a_persons_image_is_never_fought() {
    for (image, says) in [(OLD, "set the image back to"), ("registry.example/operator:mine", "set the image to")] {
        let seen = Rollout {
            image: image.to_owned(),
            image_set_by: vec!["kubectl-set".to_owned()],
            ..rollout(vec![waiting("InvalidImageName")])
        };
        let Finding::Superseded(message) = after(&seen, SECOND * 60) else { panic!("{image} is left alone") };
        assert!(message.starts_with("kubectl-set ") && message.contains(says), "{message}");
    }
}

#[test]
fn an_outage_that_has_just_ended_is_no_reason() {
    let hangs = pod(Container { running: true, ..Container::default() });
    let late = Rollout { deadline_exceeded: Some("timed out".to_owned()), ..rollout(vec![hangs]) };
    let mut judge = Judge::new(Patience::default());
    let mut counts = |seen: &Rollout, answered: bool, second: u32| {
        let now = SECOND * second;
        matches!(judge.look(seen, &trial(), now), Finding::FailedUnlessOutage(_)) && judge.reached(answered, now)
    };
    for (answered, second) in [(true, 0), (true, 29), (false, 30), (false, 90), (true, 91), (true, 120)] {
        assert!(!counts(&late, answered, second), "at {second}");
    }
    assert!(counts(&late, true, 121), "it had the time that it needs to ask, too");

    let up = rollout(vec![pod(Container { ready: true, running: true, ..Container::default() })]);
    assert!(!counts(&up, true, 122), "it has become ready");
    assert!(!counts(&late, true, 123), "and what was before that is over");
    assert!(counts(&late, true, 153));
}

#[test]
fn a_window_without_a_verdict_is_not_silence() {
    let mut judge = Judge::new(Patience::default());
    let late = Trial { age: Patience::default().window, ..trial() };
    let finding = judge.look(&rollout(vec![waiting("ContainerCreating")]), &late, SECOND);
    assert!(matches!(&finding, Finding::Overdue(message) if message.starts_with("30m after")), "{finding:?}");
}

const REASONS: [&str; 5] =
    ["ErrImagePull", "CrashLoopBackOff", "ContainerCreating", "CreateContainerConfigError", "strange"];

fn any_container() -> impl Strategy<Value = Container> {
    let waiting =
        prop::option::of(prop::sample::select(&REASONS[..]).prop_map(|reason| (reason.to_owned(), String::new())));
    (waiting, any::<bool>(), any::<bool>(), 0..5_i32).prop_map(|(waiting, running, ready, restarts)| Container {
        name: "operator".to_owned(),
        waiting,
        running,
        ready,
        restarts,
        ..Container::default()
    })
}

proptest! {
    /// Whatever the pods: another image ends the watch, and never in a rollback.
    #[test]
    fn no_pod_makes_it_fight_a_person(containers in prop::collection::vec(any_container(), 0..4), seconds in 0_u32..600) {
        let seen = Rollout { image: OLD.to_owned(), ..rollout(containers.into_iter().map(pod).collect()) };
        prop_assert!(matches!(after(&seen, SECOND * seconds), Finding::Superseded(_)));
    }

    /// Pods that are ready are never a reason to go back.
    #[test]
    fn a_version_that_is_up_stays(restarts in 0..9_i32, seconds in 0_u32..600) {
        let up = Container { ready: true, running: true, restarts, ..Container::default() };
        prop_assert_eq!(after(&rollout(vec![pod(up)]), SECOND * seconds), Finding::Wait);
    }
}
