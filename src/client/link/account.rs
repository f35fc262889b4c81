//! Calls about the account: logging in, the second factor, sessions, and leaving.

use zeroize::Zeroize;

use crate::base::wait::Alarm;
use crate::client::error::CallError;
use crate::client::link::{CALL_LIMIT, CONNECT_LIMIT, Link, PASSWORD_LIMIT, refusal};
use crate::client::types::{CompletedSession, ListedSession, LoginNotes, OpenedSession, OwnerProof};
use crate::proto::methods;
use crate::proto::time_of;
use crate::proto::{
    ChangePasswordRequest, DeleteAccountRequest, EndSessionsRequest, ListSessionsRequest, LoginRequest, LogoutRequest,
    NewRecoveryCodesRequest, RegisterRequest, RequestCheckOtp, RequestInitOtp, WhichSessions,
};
use crate::security::secret::SecretText;

impl Link {
    /// Creates an account; `invite` is needed if registration is by invitation.
    ///
    /// # Errors
    /// See [`CallError`], as with every call here.
    pub fn register(&self, login: &str, password: &SecretText, invite: Option<&SecretText>) -> Result<(), CallError> {
        let mut request = RegisterRequest {
            login: login.to_owned(),
            password: password.expose().to_owned(),
            invite: in_the_clear(invite),
            ..Default::default()
        };
        let answer = self.call(&methods::REGISTER, &request, None, PASSWORD_LIMIT);
        request.password.zeroize();
        request.invite.zeroize();
        let answer = answer?;
        if answer.success { Ok(()) } else { Err(refusal(&answer.reason, &answer.error, answer.retry_after_seconds)) }
    }

    /// Opens a session with a password. With a `recovery_code`, or the administrator's one-time enrolment code in its place,
    /// the new session needs enrolment.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn login(
        &self,
        login: &str,
        password: &SecretText,
        recovery_code: Option<&SecretText>,
    ) -> Result<OpenedSession, CallError> {
        self.open(LoginRequest {
            login: login.to_owned(),
            password: password.expose().to_owned(),
            recovery_code: in_the_clear(recovery_code),
            ..Default::default()
        })
    }

    /// Opens a session with password and code in one call. No other login can push such a session out, unlike one that waits
    /// for its code.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn login_with_code(
        &self,
        login: &str,
        password: &SecretText,
        code: &SecretText,
    ) -> Result<OpenedSession, CallError> {
        self.open(LoginRequest {
            login: login.to_owned(),
            password: password.expose().to_owned(),
            otp: code.expose().to_owned(),
            ..Default::default()
        })
    }

    fn open(&self, mut request: LoginRequest) -> Result<OpenedSession, CallError> {
        self.ready(CONNECT_LIMIT, &Alarm::default())?;
        let sent = self.clock.ours();
        let answer = self.call(&methods::LOGIN, &request, None, PASSWORD_LIMIT);
        request.password.zeroize();
        request.recovery_code.zeroize();
        request.otp.zeroize();
        let mut answer = answer?;
        self.note_time(sent, answer.server_time.as_ref());
        if !answer.success {
            return Err(refusal(&answer.reason, &answer.error, answer.retry_after_seconds));
        }
        Ok(OpenedSession {
            token: SecretText::new(std::mem::take(&mut answer.token)),
            state: answer.state.enum_value_or_default(),
            expires_at: answer.expires_at.as_ref().map(time_of),
            notes: LoginNotes {
                recovery_codes: secrets(&mut answer.recovery_codes),
                recovery_codes_left: answer.recovery_codes_left,
                wrong_codes: answer.wrong_codes,
            },
        })
    }

    /// Starts an enrolment; returns the `otpauth://` URI of the new second factor. A complete session replaces its factor and
    /// needs `proof` for it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn init_otp(
        &self,
        login: &str,
        token: &SecretText,
        proof: Option<&OwnerProof>,
    ) -> Result<SecretText, CallError> {
        let mut request = RequestInitOtp {
            login: login.to_owned(),
            password: in_the_clear(proof.map(|proof| &proof.password)),
            otp: in_the_clear(proof.map(|proof| &proof.code)),
            ..Default::default()
        };
        let limit = if proof.is_some() { PASSWORD_LIMIT } else { CALL_LIMIT };
        let answer = self.call(&methods::INIT_OTP, &request, Some(token), limit);
        request.password.zeroize();
        let mut answer = answer?;
        let uri = SecretText::new(std::mem::take(&mut answer.secret));
        if uri.is_empty() { Err(refusal(&answer.reason, &answer.error, answer.retry_after_seconds)) } else { Ok(uri) }
    }

    /// Gives a code, to complete a session or to confirm an enrolment.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn check_otp(&self, login: &str, token: &SecretText, code: &SecretText) -> Result<CompletedSession, CallError> {
        let request = RequestCheckOtp { login: login.to_owned(), otp: code.expose().to_owned(), ..Default::default() };
        self.ready(CONNECT_LIMIT, &Alarm::default())?;
        let sent = self.clock.ours();
        let mut answer = self.call(&methods::CHECK_OTP, &request, Some(token), CALL_LIMIT)?;
        self.note_time(sent, answer.server_time.as_ref());
        if !answer.valid {
            return Err(refusal(&answer.reason, &answer.error, answer.retry_after_seconds));
        }
        let renewed = SecretText::new(std::mem::take(&mut answer.token));
        Ok(CompletedSession {
            token: if renewed.is_empty() { token.clone() } else { renewed },
            expires_at: answer.expires_at.as_ref().map(time_of),
            notes: LoginNotes {
                recovery_codes: secrets(&mut answer.recovery_codes),
                recovery_codes_left: answer.recovery_codes_left,
                wrong_codes: answer.wrong_codes,
            },
        })
    }

    /// Makes new recovery codes and voids the old ones.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn new_recovery_codes(&self, token: &SecretText, proof: &OwnerProof) -> Result<Vec<SecretText>, CallError> {
        let mut request = NewRecoveryCodesRequest {
            password: proof.password.expose().to_owned(),
            otp: proof.code.expose().to_owned(),
            ..Default::default()
        };
        let answer = self.call(&methods::NEW_RECOVERY_CODES, &request, Some(token), PASSWORD_LIMIT);
        request.password.zeroize();
        Ok(secrets(&mut answer?.recovery_codes))
    }

    /// Replaces the password by `new`; returns how many other sessions that ended.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn change_password(&self, token: &SecretText, proof: &OwnerProof, new: &SecretText) -> Result<u32, CallError> {
        let mut request = ChangePasswordRequest {
            password: proof.password.expose().to_owned(),
            otp: proof.code.expose().to_owned(),
            new_password: new.expose().to_owned(),
            ..Default::default()
        };
        let answer = self.call(&methods::CHANGE_PASSWORD, &request, Some(token), PASSWORD_LIMIT);
        request.password.zeroize();
        request.new_password.zeroize();
        Ok(answer?.ended_sessions)
    }

    /// Deletes the account of `token` permanently.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn delete_account(&self, token: &SecretText, proof: &OwnerProof) -> Result<(), CallError> {
        let mut request = DeleteAccountRequest {
            password: proof.password.expose().to_owned(),
            otp: proof.code.expose().to_owned(),
            ..Default::default()
        };
        let answer = self.call(&methods::DELETE_ACCOUNT, &request, Some(token), PASSWORD_LIMIT);
        request.password.zeroize();
        answer.map(drop)
    }

    /// Lists the live sessions of the account, oldest first.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn list_sessions(&self, token: &SecretText) -> Result<Vec<ListedSession>, CallError> {
        let answer = self.call(&methods::LIST_SESSIONS, &ListSessionsRequest::new(), Some(token), CALL_LIMIT)?;
        Ok(answer.sessions.into_iter().map(ListedSession::from).collect())
    }

    /// Ends the session with this `id` from [`Link::list_sessions`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn end_session(&self, token: &SecretText, id: &str) -> Result<(), CallError> {
        let request = EndSessionsRequest { which: WhichSessions::ONE.into(), id: id.to_owned(), ..Default::default() };
        self.call(&methods::END_SESSIONS, &request, Some(token), CALL_LIMIT).map(drop)
    }

    /// Ends all sessions of the account, or all but this one; returns how many.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn end_sessions(&self, token: &SecretText, which: WhichSessions, proof: &OwnerProof) -> Result<u32, CallError> {
        let mut request = EndSessionsRequest {
            which: which.into(),
            password: proof.password.expose().to_owned(),
            otp: proof.code.expose().to_owned(),
            ..Default::default()
        };
        let answer = self.call(&methods::END_SESSIONS, &request, Some(token), PASSWORD_LIMIT);
        request.password.zeroize();
        Ok(answer?.ended)
    }

    /// Ends the session of `token`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn logout(&self, token: &SecretText) -> Result<(), CallError> {
        self.call(&methods::LOGOUT, &LogoutRequest::new(), Some(token), CALL_LIMIT).map(drop)
    }
}

/// The secret in the clear, for a request that its sender wipes; empty if there is none.
fn in_the_clear(secret: Option<&SecretText>) -> String {
    secret.map(|secret| secret.expose().to_owned()).unwrap_or_default()
}

fn secrets(codes: &mut Vec<String>) -> Vec<SecretText> {
    std::mem::take(codes).into_iter().map(SecretText::new).collect()
}
