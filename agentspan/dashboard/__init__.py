"""The Panel views: what a person sees of a server in a browser, or in a cell.

A `Store` is what one session knows of a server; a `View` shows one thing of it; `app` puts the views on pages. It may
import `agents`, `client` and `drawing`, and it is the only room that knows Panel. The server runs it in a process of
its own.
"""
