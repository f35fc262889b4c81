//! The methods on the wire, for server and client alike: path, kind, and how bodies are read and written.

use grpcio::{Marshaller, Method, MethodType, pb_de, pb_ser};

use crate::proto::{
    Empty, LoginRequest, LoginResponse, LogoutRequest, LogoutResponse, Message, RegisterRequest, RegisterResponse,
    RequestCheckOtp, RequestInitOtp, ResponseCheckOtp, ResponseInitOtp, SendResponse,
};

const fn method<Q: protobuf::Message, A: protobuf::Message>(kind: MethodType, name: &'static str) -> Method<Q, A> {
    Method {
        ty: kind,
        name,
        req_mar: Marshaller { ser: pb_ser, de: pb_de },
        resp_mar: Marshaller { ser: pb_ser, de: pb_de },
    }
}

/// `Auth.Register`
pub static REGISTER: Method<RegisterRequest, RegisterResponse> = method(MethodType::Unary, "/Auth/Register");
/// `Auth.Login`
pub static LOGIN: Method<LoginRequest, LoginResponse> = method(MethodType::Unary, "/Auth/Login");
/// `Auth.Logout`
pub static LOGOUT: Method<LogoutRequest, LogoutResponse> = method(MethodType::Unary, "/Auth/Logout");
/// `Otp.InitOtp`
pub static INIT_OTP: Method<RequestInitOtp, ResponseInitOtp> = method(MethodType::Unary, "/Otp/InitOtp");
/// `Otp.CheckOtp`
pub static CHECK_OTP: Method<RequestCheckOtp, ResponseCheckOtp> = method(MethodType::Unary, "/Otp/CheckOtp");
/// `Messaging.SendMessage`
pub static SEND_MESSAGE: Method<Message, SendResponse> = method(MethodType::Unary, "/Messaging/SendMessage");
/// `Messaging.MessageStream` as a client reads it; the server writes frames that are encoded once (`wire`).
pub static MESSAGE_STREAM: Method<Empty, Message> = method(MethodType::ServerStreaming, "/Messaging/MessageStream");
