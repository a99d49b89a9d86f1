# distutils: language = c++
"""Heartbeats from a native thread. See pulse.h."""

cdef extern from "pulse.h" namespace "harpy::liveness" nogil:
    cdef cppclass CppPulse "harpy::liveness::Pulse":
        CppPulse(double interval_s) except +
        void tie(int input, int output)
        void hush(bint value)
        int add(int socket) except +
        void remove(int number)
        double silent_for(int number)
        bint was_terminated(int number)
        void bid_farewell()
        void order_end(int number)


cdef class Pulse:
    cdef CppPulse* _pulse

    def __cinit__(self, double interval_s):
        if not interval_s > 0:
            raise ValueError(f"interval_s must be positive, got {interval_s}")
        self._pulse = new CppPulse(interval_s)

    def __dealloc__(self):
        with nogil:
            del self._pulse

    def tie(self, int input, int output):
        with nogil:
            self._pulse.tie(input, output)

    def hush(self, bint value):
        with nogil:
            self._pulse.hush(value)

    def add(self, int socket):
        cdef int number
        with nogil:
            number = self._pulse.add(socket)
        return number

    def remove(self, int number):
        with nogil:
            self._pulse.remove(number)

    def silent_for(self, int number):
        cdef double seconds
        with nogil:
            seconds = self._pulse.silent_for(number)
        return seconds

    def order_end(self, int number):
        with nogil:
            self._pulse.order_end(number)

    def was_terminated(self, int number):
        cdef bint terminated
        with nogil:
            terminated = self._pulse.was_terminated(number)
        return terminated

    def bid_farewell(self):
        with nogil:
            self._pulse.bid_farewell()
