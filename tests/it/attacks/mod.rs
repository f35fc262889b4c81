//! What attackers would do, against a real server: `cargo test --release --test it attacks`.
//!
//! The attacker knows a user's password, opens any number of connections, replays what he saw on his own, and guesses in
//! parallel. He does not own the machine; he may have stolen the database. The attacks that had to be shown, and where:
//!
//! | attack | test |
//! |---|---|
//! | chat with a token that has not passed the second factor | `gate::nobody_chats_before_the_second_factor` |
//! | 64 parallel logins with one code: one passes | `gate::of_64_parallel_logins_with_one_code_one_passes`, `gate::of_parallel_checks_of_one_code_one_passes`, `races::one_waiting_session_of_an_old_client_is_completed_once` |
//! | the code before, the code after next | `gate::codes_two_steps_away_are_refused_and_one_step_away_accepted` |
//! | 60 guesses from 60 connections, at once and in turn | `guessing::sixty_guesses_…` (two) |
//! | `InitOtp` for somebody else, with and without a token, and by a session that owes a code | `gate::nobody_chats_before_…`, `gate::old_clients_complete_their_one_session_…`, `confusion::a_token_serves_no_login_but_its_own` |
//! | two sessions enrolling in a race | `gate::two_sessions_that_enrol_in_a_race_make_one_factor`, `races::of_parallel_recoveries_one_wins`, `races::of_a_re_enrolment_and_a_recovery_one_wins`, `races::of_parallel_secrets_…` |
//! | a waiting session completed without its token from another connection; a bad token on CheckOtp that must not fall through | `gate::old_clients_complete_their_one_session_on_their_connection_and_no_other` |
//! | a complete session's token used to guess | `guessing::a_complete_session_cannot_be_used_to_guess_beyond_the_budget`, `confusion::every_door_draws_on_one_budget_…` |
//! | `alg: none`, a changed payload, another key, an expired token, a token of a deleted user | `forged` |
//! | author of somebody else | `gate::nobody_writes_in_another_name_and_texts_keep_the_rules` |
//! | revocation while streaming | `gate::logging_out_ends_…`, `gate::a_complete_session_replaces_its_factor_…`, `account::sessions_are_listed_and_one_is_ended_with_its_stream` |
//! | timing of known and unknown logins | `cargo bench --profile release --bench login_timing` |
//! | a stolen database, new and upgraded | `stolen` |
//! | whatever a stranger may send | `wild` (`script/fuzz` for minutes), `watch` over every log line and thread of all tests |
//! | sixty megabytes packed into sixty kilobytes | `wild::what_comes_packed_is_not_unpacked` |
//! | a login or text that is a line of the log | `watch`, and fail2ban's reading: `tests/foreign/test_fail2ban.py` |
//! | two tokens, session names, another's login, a lock, a clock set back, spellings | `confusion`, `admin::a_locked_account_is_out_at_once_…` |
//! | a change of password, a departure, a registration, in a race with others | `races`, `account::a_code_makes_one_change_of_many_at_once`, `account::one_recovery_code_opens_one_of_many_sessions_at_once`, `admin::one_invitation_lets_one_of_many_in_at_once` |

mod confusion;
mod forged;
mod gate;
mod guessing;
mod races;
mod stolen;
mod wild;
