/* format.h — the bytes of an image; docs/internals/transfer.md explains them.
 *
 * An image is FORMAT_MAGIC, a byte of format flags, and one value. A value is a tag
 * byte and what the tag says. Sizes are variable-length numbers (7 bits per byte,
 * lowest first), up to 64 bits. A tag with TAG_MEMO set gives its value the next
 * number, by which TAG_REF refers to it later in the same image.
 */
#ifndef SIPY_TRANSFER_FORMAT_H
#define SIPY_TRANSFER_FORMAT_H

#define FORMAT_MAGIC 0x54 /* changes with every change of the format */

typedef enum format_flag {
    FORMAT_PURE = 1, /* decoding runs no Python code: only built-in types inside */
    FORMAT_CALL = 2, /* a call: function, count, arguments, names */
} format_flag;

#define TAG_MEMO 0x80u

typedef enum format_tag {
    TAG_NONE = 1,
    TAG_TRUE,
    TAG_FALSE,
    TAG_ELLIPSIS,
    TAG_NOT_IMPLEMENTED,
    TAG_INT8,  /* signed byte */
    TAG_INT32, /* four bytes */
    TAG_INT64, /* eight bytes */
    TAG_INT,   /* size, two's complement bytes */
    TAG_FLOAT, /* eight bytes */
    TAG_COMPLEX,
    TAG_CHAR,       /* one Latin-1 character */
    TAG_NAME,       /* interned ASCII str: size byte, bytes */
    TAG_ASCII,      /* str: size, bytes */
    TAG_LATIN1,     /* str: size, bytes */
    TAG_UCS2,       /* str: characters, two bytes each */
    TAG_UCS4,       /* str: characters, four bytes each */
    TAG_INTERN,     /* a str value follows; the result is interned */
    TAG_BYTES,      /* size, bytes */
    TAG_BYTEARRAY,  /* size, bytes */
    TAG_HELD_ASCII, /* as the above, the bytes in a block: number of the hold, size */
    TAG_HELD_LATIN1,
    TAG_HELD_UCS2,
    TAG_HELD_UCS4,
    TAG_HELD_BYTES,
    TAG_HELD_BYTEARRAY,
    TAG_TUPLE,       /* size, values */
    TAG_TUPLE_AGAIN, /* as TAG_TUPLE, then a number: it is that earlier value */
    TAG_LIST,        /* size, values */
    TAG_FLOATS,      /* list of float: size, eight bytes each */
    TAG_DICT,        /* size, pairs of values */
    TAG_DICT_DEFINE, /* size, keys (this is the next shape), values */
    TAG_DICT_SHAPE,  /* number of a shape, values */
    TAG_BREAK,       /* inside the values of a shape: size of the rest, pairs */
    TAG_SET,         /* size, values */
    TAG_FROZENSET,   /* size, values */
    TAG_FROZENSET_AGAIN,
    TAG_SLICE, /* three values */
    TAG_SLICE_AGAIN,
    TAG_RANGE,      /* three values */
    TAG_REF,        /* number of a value */
    TAG_CLASS,      /* str module, str qualified name: an attribute of a module */
    TAG_STATIC,     /* number of a hold: a class of the runtime that has no module */
    TAG_MODULE,     /* str name */
    TAG_NAMEDTUPLE, /* class, size, values */
    TAG_NAMEDTUPLE_AGAIN,
    TAG_OBJECT_DEFINE, /* class, size, names (this is the next shape), values */
    TAG_OBJECT_SHAPE,  /* number of a shape, values */
    TAG_REDUCE,        /* parts byte, callable, arguments, then what parts says */
    TAG_REDUCE_AGAIN,
    TAG_OWN,           /* crosser, two numbers of eight bytes */
    TAG_BUFFER,        /* number of the hold: a memoryview in place */
    TAG_PICKLE_BUFFER, /* number of the hold, read-only byte */
    TAG_FUNCTION,      /* id of eight bytes, number of the hold + 1, or 0: it is known */
    TAG_LOCAL_CLASS,   /* the same */
    TAG_CODE,          /* the same */
    TAG_ARRAY,         /* typecode, number of the hold + 1, or 0 and size, bytes */
    TAG_TYPE_PARAM,    /* as TAG_FUNCTION: a type variable */
    TAG_CACHED,        /* the same: an lru_cache */
    TAG_DISPATCHER,    /* the same: a singledispatch function */
    TAG_UNSET,         /* among the values of an instance: a slot without a value */
    TAG_TRY,           /* eight bytes: length of the rest; four: how many values are
                          numbered after it; what is told of an exception, or None;
                          the value, which a stand-in replaces if it cannot be built */
    TAG_STAND_IN,      /* the value of a TAG_TRY that could not be written: str why */
    TAG_COUNT,
} format_tag;

/* Parts that follow the callable and the arguments of a TAG_REDUCE. */
typedef enum reduce_part {
    REDUCE_NEWOBJ = 1,    /* the callable is a class: its __new__ is called */
    REDUCE_NEWOBJ_EX = 2, /* arguments are (args, kwargs) */
    REDUCE_ITEMS = 4,     /* a list to append */
    REDUCE_PAIRS = 8,     /* a flat list of keys and values to set */
    REDUCE_STATE = 16,
    REDUCE_SETTER = 32,  /* after the state: callable(object, state) */
    REDUCE_NO_INIT = 64, /* an exception: made without its __init__ */
    REDUCE_ERROR = 128,  /* at the end: __cause__, __context__, __suppress_context__,
                            and a tuple of notes to add, or None */
} reduce_part;

#endif /* SIPY_TRANSFER_FORMAT_H */
