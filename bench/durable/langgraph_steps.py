"""The same in LangGraph with its SQLite checkpointer, which saves before each step goes on (durability "sync")."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

directory, steps, sessions, each = sys.argv[1], *map(int, sys.argv[2:])


class State(TypedDict):
    n: int
    count: int


graph = StateGraph(State)
graph.add_node("nothing", lambda state: {"n": state["n"] + 1})
graph.add_edge(START, "nothing")
graph.add_conditional_edges("nothing", lambda state: END if state["n"] >= state["count"] else "nothing")

with SqliteSaver.from_conn_string(f"{directory}/langgraph.sqlite") as saver:
    app = graph.compile(checkpointer=saver)

    def work(thread: str, count: int) -> None:
        config = {"configurable": {"thread_id": thread}, "recursion_limit": count + 5}
        app.invoke({"n": 0, "count": count}, config, durability="sync")

    work("warm", 5)
    begun = time.perf_counter()
    work("one", steps)
    sequential = steps / (time.perf_counter() - begun)
    begun = time.perf_counter()
    with ThreadPoolExecutor(sessions) as pool:
        list(pool.map(lambda n: work(f"many{n}", each), range(sessions)))
    concurrent = sessions * each / (time.perf_counter() - begun)
print(json.dumps({"sequential": sequential, "concurrent": concurrent}))
