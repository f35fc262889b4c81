"""The predecessor's console client, as far as the server can tell: one plaintext channel for its whole life, no token
on Auth and Otp calls, `error` texts printed as they come, and no handler for a failed call of Auth or Otp: such a call
ends the client. (It also knows none of the fields that came later.)"""

from harness import CALL_S, Listener

import grpc

import auth_pb2
import auth_pb2_grpc
import messaging_pb2
import messaging_pb2_grpc
import otp_pb2
import otp_pb2_grpc


class OldClient:
    def __init__(self, address):
        # Each of these clients is a process: a pool of its own gives it a connection of its own.
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.auth = auth_pb2_grpc.AuthStub(self.channel)
        self.otp = otp_pb2_grpc.OtpStub(self.channel)
        self.messaging = messaging_pb2_grpc.MessagingStub(self.channel)
        self.login = None
        self.token = None
        self.printed = []

    def close(self):
        self.channel.close()

    def do_register(self, login, password):
        """/register: the text of the QR picture, or None after a refusal."""
        answer = self.auth.Register(auth_pb2.RegisterRequest(login=login, password=password), timeout=CALL_S)
        if not answer.success:
            self.printed.append(answer.error)
            return None
        picture = self.otp.InitOtp(otp_pb2.RequestInitOtp(login=login), timeout=CALL_S)
        if picture.error:
            self.printed.append(picture.error)
            return None
        return picture.secret

    def do_login(self, login, password, ask_for_code):
        """/login: asks for a code up to three times; whether it got in."""
        answer = self.auth.Login(auth_pb2.LoginRequest(login=login, password=password), timeout=CALL_S)
        if not answer.success:
            self.printed.append(answer.error)
            return False
        for _ in range(3):
            check = self.otp.CheckOtp(otp_pb2.RequestCheckOtp(login=login, otp=ask_for_code()), timeout=CALL_S)
            if check.valid:
                self.login, self.token = login, answer.token
                return True
            self.printed.append(check.error)
        return False

    def listen(self):
        return Listener(self.messaging.MessageStream(messaging_pb2.Empty(), metadata=[("token", self.token)]))

    def say(self, text):
        message = messaging_pb2.Message(author=self.login, text=text)
        return self.messaging.SendMessage(message, timeout=CALL_S, metadata=[("token", self.token)])
