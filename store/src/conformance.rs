//! What every backend promises, as cases that any backend runs: each case gets an empty store and fails by panicking.
//!
//! A runner opens a [`Subject`] per [`Case`], so that cases may run side by side. A case that is not in [`CASES`] is dead
//! code and does not compile.

mod attempt;

mod attempt_list;

mod authority;

mod certificate;

mod change;

mod enrolment;

mod event;

mod executor;

mod executor_list;

mod fixture;

mod node;

mod organization;

mod pruning;

mod release;

mod session;

mod token;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::Store;

/// A backend under test, empty, with a clock that the case moves.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Moves the clock that [`crate::StoreClock::store_now`] shows later.
    async fn advance(&self, by: Duration);
}

/// What a case does with a subject.
pub type Run = for<'a> fn(&'a dyn Subject) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One promise.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The promise, `executor::an_older_revision_is_stale`.
    pub name: &'static str,
    /// Panics where it is broken.
    pub run: Run,
}

macro_rules! cases {
    ($($module:ident { $($case:ident,)* })*) => {
        /// Every promise.
        pub const CASES: &[Case] = &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            run: |subject| Box::pin($module::$case(subject)),
        },)*)*];
    };
}

cases! {
    organization {
        a_taken_id_exists,
        lists_are_paged_by_id,
    }
    token {
        every_role_reads_back,
        a_taken_id_exists_and_an_unknown_organization_is_missing,
        tokens_are_found_together,
        a_session_comes_with_the_token_it_stems_from,
        lists_keep_organizations_apart,
        the_first_revocation_stays,
        a_session_is_extended_while_it_counts,
        sessions_are_listed_by_origin_until_they_are_revoked,
        join_tokens_read_back,
        join_tokens_are_listed_by_organization,
        the_first_revocation_of_a_join_token_stays,
    }
    enrolment {
        an_enrolment_writes_everything,
        an_enrolment_may_bring_its_join_token,
        a_token_is_used_up,
        an_expired_or_revoked_token_enrols_nobody,
        a_token_for_one_name_enrols_no_other,
        two_enrolments_race_for_one_use,
        a_taken_name_exists_and_uses_nothing,
        a_replacement_ends_what_it_replaces,
        a_replacement_ends_open_attempts,
        a_replacement_of_the_gone_is_stale,
    }
    certificate {
        the_same_key_finds_its_enrolment_again,
        certificates_are_renewed_and_looked_up,
        ended_certificates_are_pruned,
        a_restore_says_what_the_backup_knew,
    }
    pruning {
        expired_tokens_are_pruned,
        expired_join_tokens_are_pruned_when_no_certificate_means_them,
        deleted_executors_are_pruned_when_nothing_means_them,
        a_replaced_executor_is_pruned_without_its_heir,
    }
    authority {
        authorities_read_back_by_number,
        a_taken_number_exists,
        a_retired_one_has_no_key_and_stays_retired,
        a_key_is_sealed_anew_once,
        the_certificate_in_hand_counts,
    }
    executor {
        every_field_reads_back,
        an_older_revision_is_stale_and_writes_nothing,
        unknown_and_deleted_are_missing,
        deletion_frees_the_name_and_revokes,
        each_commit_of_a_batch_stands_alone,
        a_batch_refuses_each_in_the_words_that_it_hears_alone,
        of_two_writers_one_wins,
        generation_and_kind_never_go_back,
        numbers_past_63_bits_are_refused,
    }
    executor_list {
        a_deleted_one_is_left_out_of_lists,
        lists_are_paged_by_name,
        lists_filter,
        lists_without_an_organization_lose_nobody,
        many_are_found_by_name_at_once,
        executors_are_counted_by_what_they_run,
    }
    attempt {
        every_field_reads_back,
        an_older_revision_undoes_the_whole_commit,
        an_unknown_one_is_missing_and_a_taken_id_stale,
        a_request_id_is_taken_once_per_organization,
        further_request_ids_find_it_until_it_is_pruned,
    }
    attempt_list {
        lists_are_newest_first,
        open_ones_are_found_by_release,
        due_ones_are_found_by_deadline,
        pending_ones_are_counted,
        pruning_forgets_ended_ones_only,
        many_are_found_by_id_at_once,
    }
    session {
        epochs_grow_and_name_the_previous,
        a_batch_opens_all_or_none,
        only_the_newest_is_closed_and_once,
        presence_follows_the_lease,
        a_session_end_is_last_seen,
        an_ended_replica_holds_nobody,
        the_newest_of_many_are_found_at_once,
        recent_ones_are_newest_first,
        pruning_keeps_the_newest,
    }
    node {
        a_full_report_replaces,
        a_delta_adds_and_removes,
        no_more_are_kept_than_an_executor_may_have,
        lists_are_paged_by_name,
        unknown_executors_have_none,
    }
    release {
        every_field_reads_back,
        an_older_revision_is_stale,
        a_commit_that_stands_on_it_is_stale_once_it_is_yanked,
        lists_are_by_kind,
    }
    event {
        pages_go_both_ways,
        kinds_and_families_filter,
        numbers_that_are_left_out_are_never_given,
        feeds_are_kept_apart,
        a_target_that_feeds_share_is_listed_for_each,
        the_head_follows_commits,
        pruned_numbers_are_not_given_again,
        refused_writes_tell_nothing,
    }
    change {
        a_commit_wakes_subscribers,
        catching_up_tells_each_executor_once,
        a_refused_commit_wakes_nobody,
        the_clock_is_the_stores,
    }
}
