"""HTTP to servers of this machine, which never goes through a proxy of the environment."""

from urllib.request import ProxyHandler, build_opener

urlopen = build_opener(ProxyHandler({})).open
