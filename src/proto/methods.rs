//! The methods on the wire, for server and client alike: path, kind, and how bodies are read and written.

use grpcio::{Marshaller, MessageReader, Method, MethodType, pb_de, pb_ser};

use crate::proto::admin::{AdminRequest, AdminResponse};
use crate::proto::{
    ChangePasswordRequest, ChangePasswordResponse, DeleteAccountRequest, DeleteAccountResponse, Empty,
    EndSessionsRequest, EndSessionsResponse, EventBatch, HistoryRequest, HistoryResponse, ListSessionsRequest,
    ListSessionsResponse, LoginRequest, LoginResponse, LogoutRequest, LogoutResponse, Message, NewRecoveryCodesRequest,
    NewRecoveryCodesResponse, RegisterRequest, RegisterResponse, RequestCheckOtp, RequestInitOtp, ResponseCheckOtp,
    ResponseInitOtp, SendResponse, SubscribeRequest,
};

/// The metadata key of the token.
pub const TOKEN_KEY: &str = "token";

/// The metadata key by which a client says that it sends a token with every call that needs one. Its value is the client's name.
/// The server then never treats it as a client of the predecessor. Optional.
pub const CLIENT_KEY: &str = "otpchat-client";

/// Decodes a request. Fields that this version does not know are dropped at once: they would take many times their size
/// while the request waits.
///
/// # Errors
/// The bytes are no such message.
pub fn decode_request<Q: protobuf::Message>(bytes: MessageReader) -> grpcio::Result<Q> {
    let mut request: Q = pb_de(bytes)?;
    request.mut_unknown_fields().clear();
    Ok(request)
}

const fn method<Q: protobuf::Message, A: protobuf::Message>(kind: MethodType, name: &'static str) -> Method<Q, A> {
    Method {
        ty: kind,
        name,
        req_mar: Marshaller { ser: pb_ser, de: decode_request },
        resp_mar: Marshaller { ser: pb_ser, de: pb_de },
    }
}

/// `Auth.Register`
pub static REGISTER: Method<RegisterRequest, RegisterResponse> = method(MethodType::Unary, "/Auth/Register");
/// `Auth.Login`
pub static LOGIN: Method<LoginRequest, LoginResponse> = method(MethodType::Unary, "/Auth/Login");
/// `Auth.Logout`
pub static LOGOUT: Method<LogoutRequest, LogoutResponse> = method(MethodType::Unary, "/Auth/Logout");
/// `Auth.ListSessions`
pub static LIST_SESSIONS: Method<ListSessionsRequest, ListSessionsResponse> =
    method(MethodType::Unary, "/Auth/ListSessions");
/// `Auth.EndSessions`
pub static END_SESSIONS: Method<EndSessionsRequest, EndSessionsResponse> =
    method(MethodType::Unary, "/Auth/EndSessions");
/// `Auth.ChangePassword`
pub static CHANGE_PASSWORD: Method<ChangePasswordRequest, ChangePasswordResponse> =
    method(MethodType::Unary, "/Auth/ChangePassword");
/// `Auth.DeleteAccount`
pub static DELETE_ACCOUNT: Method<DeleteAccountRequest, DeleteAccountResponse> =
    method(MethodType::Unary, "/Auth/DeleteAccount");
/// `Otp.InitOtp`
pub static INIT_OTP: Method<RequestInitOtp, ResponseInitOtp> = method(MethodType::Unary, "/Otp/InitOtp");
/// `Otp.CheckOtp`
pub static CHECK_OTP: Method<RequestCheckOtp, ResponseCheckOtp> = method(MethodType::Unary, "/Otp/CheckOtp");
/// `Otp.NewRecoveryCodes`
pub static NEW_RECOVERY_CODES: Method<NewRecoveryCodesRequest, NewRecoveryCodesResponse> =
    method(MethodType::Unary, "/Otp/NewRecoveryCodes");
/// `Admin.Run`, served on the socket in the data directory only.
pub static ADMIN_RUN: Method<AdminRequest, AdminResponse> = method(MethodType::Unary, "/Admin/Run");
/// `Messaging.SendMessage`
pub static SEND_MESSAGE: Method<Message, SendResponse> = method(MethodType::Unary, "/Messaging/SendMessage");
/// `Messaging.MessageStream` as a client reads it; the server writes frames that are encoded once (`wire`).
pub static MESSAGE_STREAM: Method<Empty, Message> = method(MethodType::ServerStreaming, "/Messaging/MessageStream");
/// `Messaging.Subscribe` as a client reads it; the server writes batches that are encoded once (`wire`).
pub static SUBSCRIBE: Method<SubscribeRequest, EventBatch> =
    method(MethodType::ServerStreaming, "/Messaging/Subscribe");
/// `Messaging.History`
pub static HISTORY: Method<HistoryRequest, HistoryResponse> = method(MethodType::Unary, "/Messaging/History");
