"""Models that a script defines: their class is made by more code than its body."""

import pytest


def test_pydantic(script):
    pytest.importorskip("pydantic")
    out = script.ok(
        """
        import pydantic, subinterpreters
        class Item(pydantic.BaseModel):
            price: int
            name: str = "spam"
            @pydantic.field_validator("price")
            @classmethod
            def check(cls, value):
                if value < 0:
                    raise ValueError("negative")
                return value
            def double(self):
                return 2 * self.price
        class Order(Item):
            items: list[Item]
        def make(cls, **values):
            return cls(**values)
        with subinterpreters.InterpreterPoolExecutor(2) as pool:
            order = Order(price="3", items=[Item(price=4)])
            back = pool.submit(lambda order: order.items[0], order).result()
            print(repr(back), type(back) is Item)
            print(pool.submit(lambda item: item.double(), back).result())
            made = pool.submit(make, Order, price=1, items=[{"price": "5"}]).result()
            print(made == Order(price=1, items=[Item(price=5)]))
            try:
                pool.submit(make, Item, price=-1).result()
            except pydantic.ValidationError as error:
                print(error.errors()[0]["msg"])
        """
    )
    assert out == ("Item(price=4, name='spam') True\n8\nTrue\nValue error, negative\n")
