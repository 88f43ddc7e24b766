"""Time and memory of separation, conversion, training and inference, as `separator bench` measures them.

A *system* is a network and the *backend* that runs it, named `BACKEND:NAME@WINDOW`. A *case* is one system on one length of
sound and number of threads; it is measured in a process of its own over several *rounds*, of which the fastest counts, and
gives a *measurement*. A *sweep* varies one of the *settings* (time window, width, length of sound, firing rate), or the layer
of a conversion, or the network that is trained; a *comparison* is a sweep over lengths of sound by fixed systems. The
measurements of one system over the values of a sweep are a *curve*. A sweep may take several *turns*, in each of which every
case is measured once. The *record* is the table on disk that measurements are kept in.
"""
