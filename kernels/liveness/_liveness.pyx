# distutils: language = c++
"""Heartbeats from a native thread. See pulse.h."""

cdef extern from "pulse.h" namespace "harpy::liveness" nogil:
    cdef cppclass CppPulse "harpy::liveness::Pulse":
        CppPulse(double interval_s) except +
        void attach_launcher(int input, int output)
        void pause_lines(bint value)
        int add(int socket) except +
        void remove(int number)
        double silent_for(int number)
        bint was_terminated(int number)
        void report_termination()
        void end_peer(int number)


cdef class Pulse:
    cdef CppPulse* _pulse

    def __cinit__(self, double interval_s):
        if not interval_s > 0:
            raise ValueError(f"interval_s must be positive, got {interval_s}")
        self._pulse = new CppPulse(interval_s)

    def __dealloc__(self):
        with nogil:
            del self._pulse

    def attach_launcher(self, int input, int output):
        with nogil:
            self._pulse.attach_launcher(input, output)

    def pause_lines(self, bint value):
        with nogil:
            self._pulse.pause_lines(value)

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

    def end_peer(self, int number):
        with nogil:
            self._pulse.end_peer(number)

    def was_terminated(self, int number):
        cdef bint terminated
        with nogil:
            terminated = self._pulse.was_terminated(number)
        return terminated

    def report_termination(self):
        with nogil:
            self._pulse.report_termination()
